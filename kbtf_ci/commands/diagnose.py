# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci diagnose``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands.options import combine, common_options
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.workflow import diagnose as workflow

_diagnose_options = combine(
    click.option("--vmlinux", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="The kernel it is about: with --modules, the offline check proves it."),
    click.option("--modules", "--module", "modules", multiple=True, metavar="FILE|DIR",
                 type=click.Path(exists=True, path_type=Path),
                 help="Modules that the text is about; repeatable."),
    click.option("--json", "as_json", is_flag=True, help="Print the diagnosis as JSON."),
    click.argument("files", nargs=-1, metavar="[FILE]..."),
)  # fmt: skip


@click.command()
@_diagnose_options
@common_options
def diagnose(*, as_json: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Explain a BTF failure from a log or the text of a report, or say that none is to be seen."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        found = workflow.diagnose(workflow.DiagnoseOptions(**options), reporter)
        reporter.close()
        echo_json(found.document()) if as_json else echo(found.text(brief=quiet))
        sys.exit(found.exit_code)
