# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci btf-cache``."""

from __future__ import annotations

import click

from kbtf_ci.commands.options import common_options
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.workflow import btf_cache as workflow


@click.command("btf-cache")
@click.option("--clear", is_flag=True, help="Empty it.")
@click.option("--json", "as_json", is_flag=True, help="Print what it holds as JSON.")
@common_options
def btf_cache(*, clear: bool, as_json: bool, quiet: bool, debug: bool) -> None:
    """Show or empty the cache of modules' BTF that --btf-cache puts in the place of pahole."""
    with reporting(quiet=quiet, debug=debug):
        found = workflow.clear() if clear else workflow.show()
        echo_json(found.document()) if as_json else echo(found.text())
