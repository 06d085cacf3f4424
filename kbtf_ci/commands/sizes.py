# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci sizes``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from kbtf_ci.commands.options import combine, common_options, run_directory
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.workflow import sizes as workflow

_sizes_options = combine(
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Modules that pahole encodes at a time."),
    click.option("--top", type=click.IntRange(min=1), default=10, show_default=True,
                 help="Modules in each table."),
    click.option("--json", "as_json", is_flag=True, help="Print sizes.json on standard output."),
)  # fmt: skip


@click.command()
@run_directory
@_sizes_options
@common_options
def sizes(*, run_directory: Path, jobs: int, top: int, as_json: bool, quiet: bool, debug: bool) -> None:
    """Show what split BTF saves: RUNDIR's modules with full BTF against their split BTF."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        sized = workflow.measure_sizes(run_directory, jobs, reporter)
        reporter.close()
        echo_json(sized.values) if as_json else echo(sized.text(top))
