# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci build``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands.options import build_options, build_options_of, command_line, common_options
from kbtf_ci.commands.session import reporting
from kbtf_ci.workflow import run as workflow


@click.command()
@build_options
@common_options
def build(output: Path | None, quiet: bool, debug: bool, **options: Any) -> None:
    """Build a kernel and list its modules, without booting it."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        directory = workflow.build(build_options_of(options), output, command_line(), reporter)
        reporter.close()
        click.echo(directory.path)
