# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci pahole-wrapper install``."""

from __future__ import annotations

from pathlib import Path

import click

from kbtf_ci.commands.options import common_options
from kbtf_ci.commands.session import echo, reporting
from kbtf_ci.workflow import pahole_wrapper as workflow


@click.group("pahole-wrapper")
def pahole_wrapper() -> None:
    """Have a make of your own, outside of kbtf-ci, write modules' BTF by a server."""


@pahole_wrapper.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@common_options
def install(*, folder: Path, quiet: bool, debug: bool) -> None:
    """Make the wrapper with this machine's compiler, put it into DIR, and print how make is told of it."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        lines = list(workflow.install(folder, reporter))
        reporter.close()
        echo(lines)
