# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci cache-key``."""

from __future__ import annotations

import os
from typing import Any

import click

from kbtf_ci.commands import options as shared
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.errors import UsageError
from kbtf_ci.report import cache_key as shown
from kbtf_ci.workflow.cache_key import cache_keys


@click.command("cache-key")
@shared.config
@shared.tree_options
@shared.btf_cache
@shared.variables
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@click.option("--github", "as_github", is_flag=True, help="Print lines for the file $GITHUB_OUTPUT.")
@shared.common_options
def cache_key(*, as_json: bool, as_github: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Print what the caches of a build with these options are to be kept under between jobs of a CI.

    It needs neither engine nor network.
    """
    with reporting(quiet=quiet, debug=debug):
        if as_json and as_github:
            raise UsageError("--json and --github: one of them at a time")
        keys = cache_keys(shared.build_options_of(options))
        if as_github:
            # As bytes: a path need not be text.
            click.echo(os.fsencode("\n".join(shown.github_outputs(keys))))
        elif as_json:
            echo_json(shown.document(keys))
        else:
            echo(shown.text(keys))
