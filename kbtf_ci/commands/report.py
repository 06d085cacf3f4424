# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci report``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from kbtf_ci.commands import complete
from kbtf_ci.commands.options import combine, common_options, run_directory
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.errors import ExitCode, UsageError
from kbtf_ci.model.comparison import Budgets, Comparison
from kbtf_ci.report import comparison
from kbtf_ci.report.html.comparison_page import comparison_page
from kbtf_ci.workflow import report as workflow


class _Percent(click.ParamType[float]):
    name = "PERCENT"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Take ``2%`` and ``2`` for two percent."""
        try:
            found = float(str(value).removesuffix("%"))
        except ValueError:
            self.fail(f"{value}: not a percentage, as 2% is", param, ctx)
        if not found >= 0:
            self.fail(f"{value}: less than 0 %, or no number", param, ctx)
        return found


_NUMBER = click.IntRange(min=0)
_options = combine(
    click.option("--compare", "--baseline", "other",
                 type=click.Path(exists=True, path_type=Path), shell_complete=complete.runs_and_files,
                 help="An earlier run: its directory or its results.json."),
    click.option("--max-btf-bytes", "btf_bytes", type=_NUMBER, help="Bytes that all BTF may have."),
    click.option("--max-growth", "growth", type=_Percent(), help="By how much it may have grown, as 2%."),
    click.option("--max-lost-functions", "lost_functions", type=_NUMBER,
                 help="Functions that may be described no more."),
    click.option("--max-lost-modules", "lost_modules", type=_NUMBER,
                 help="Modules that may be there no more."),
    click.option("--html", "as_html", is_flag=True, help="Print the comparison as a page for a browser."),
    click.option("--markdown", "as_markdown", is_flag=True, help="Print it for a pull request."),
    click.option("--json", "as_json", is_flag=True, help="Print it as JSON."),
)  # fmt: skip


@click.command()
@run_directory
@_options
@common_options
def report(
    *,
    run_directory: Path,
    other: Path | None,
    quiet: bool,
    debug: bool,
    **options: Any,
) -> None:
    """Write RUNDIR's reports again, or put it beside an earlier run.

    With --compare it exits with 1 where a budget is not kept.
    """
    shapes = [options.pop(name) for name in ("as_html", "as_markdown", "as_json")]
    with reporting(quiet=quiet, debug=debug) as reporter:
        if sum(shapes) > 1:
            raise UsageError("--html, --markdown and --json: one of them at a time")
        if other is None:
            _refuse_without_other(shapes, options)
            page = workflow.render(run_directory, reporter)
            reporter.close()
            echo([f"report: {page}"])
        else:
            _compare(run_directory, other, shapes, Budgets(**options))


def _refuse_without_other(shapes: Sequence[bool], limits: Mapping[str, object]) -> None:
    if any(shapes) or any(limit is not None for limit in limits.values()):
        raise UsageError(
            "budgets, --html, --markdown and --json are of a comparison",
            hint="name the other run: --baseline",
        )


def _compare(run_directory: Path, other: Path, shapes: Sequence[bool], budgets: Budgets) -> NoReturn:
    found = workflow.compare(run_directory, other)
    if budgets.lost_functions is not None and not found.has_functions:
        raise UsageError(
            f"--max-lost-functions: {_without(found)} has not kept the names of functions",
            hint="kbtf-ci verify keeps them, in kernel/functions.json.gz of a run directory",
        )
    breaches = list(budgets.breaches(found))
    as_html, as_markdown, as_json = shapes
    if as_html:
        click.echo(comparison_page(found, breaches), nl=False)
    elif as_json:
        echo_json(comparison.document(found, breaches))
    elif as_markdown:
        echo(comparison.markdown(found, breaches).splitlines())
    else:
        echo(comparison.text(found, breaches))
    sys.exit(ExitCode.NOT_VERIFIED if breaches else ExitCode.VERIFIED)


def _without(found: Comparison) -> str:
    return next(run.name for run in (found.before, found.after) if not run.has_functions)
