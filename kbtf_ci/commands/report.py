# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci report``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kbtf_ci.commands import complete
from kbtf_ci.commands.options import annotate, combine, common_options, run_directory
from kbtf_ci.commands.session import Session, echo, echo_json, publish, reporting
from kbtf_ci.errors import ExitCode, UsageError
from kbtf_ci.infra.paths import shown_path
from kbtf_ci.infra.rundir import write_text
from kbtf_ci.model.cause import Cause
from kbtf_ci.model.comparison import Budgets, Comparison
from kbtf_ci.report import comparison
from kbtf_ci.report.html.comparison_page import comparison_page
from kbtf_ci.report.kcidb import kcidb
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
    click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
                 help="Write the comparison as a page for a browser."),
    click.option("--markdown", "as_markdown", is_flag=True, help="Print it for a pull request."),
    click.option("--json", "as_json", is_flag=True, help="Print it as JSON."),
    click.option("--kcidb", "origin", metavar="ORIGIN",
                 help="Print the run for KernelCI's KCIDB; ORIGIN is your name there."),
    annotate,
)  # fmt: skip


@click.command()
@run_directory
@_options
@common_options
def report(
    *,
    run_directory: Path,
    other: Path | None,
    html: Path | None,
    as_markdown: bool,
    as_json: bool,
    origin: str | None,
    annotate: bool,
    quiet: bool,
    debug: bool,
    **limits: float | None,
) -> None:
    """Write RUNDIR's reports again, or put it beside an earlier run.

    With --compare it exits with 1 where a budget is not kept.
    """
    with reporting(quiet=quiet, debug=debug) as session:
        if as_markdown and as_json:
            raise UsageError("--markdown and --json: one of them at a time")
        if other is None:
            if html or as_markdown or as_json or any(limit is not None for limit in limits.values()):
                raise UsageError(
                    "budgets, --html, --markdown and --json are of a comparison",
                    hint="name the other run: --baseline",
                )
            _of_one(run_directory, origin, session)
            return
        if origin is not None:
            raise UsageError("--kcidb is of one run, and not of a comparison")
        budgets = Budgets(**limits)  # type: ignore[arg-type]  # click has parsed each to its type
        found = workflow.compare(run_directory, other)
        breaches = _breaches(found, budgets)
        if html is not None:
            write_text(html, comparison_page(found, breaches))
        _show(found, breaches, as_markdown=as_markdown, as_json=as_json)
        if annotate:
            over = [Cause("Over budget", counts=True, lines=(line,)) for line in breaches]
            publish(over, comparison.markdown(found, breaches), session)
        sys.exit(ExitCode.NOT_VERIFIED if breaches else ExitCode.VERIFIED)


def _of_one(run_directory: Path, origin: str | None, session: Session) -> None:
    if origin is not None:
        echo_json(kcidb(*workflow.read_run(run_directory), origin))
        return
    page = workflow.render(run_directory, session)
    session.close()
    echo([f"report: {shown_path(page)}"])


def _breaches(found: Comparison, budgets: Budgets) -> list[str]:
    if budgets.lost_functions is not None and not found.has_functions:
        raise UsageError(
            f"--max-lost-functions: {_without(found)} has not kept the names of functions",
            hint="kbtf-ci verify keeps them, in kernel/functions.json.gz of a run directory",
        )
    return list(budgets.breaches(found))


def _show(found: Comparison, breaches: list[str], *, as_markdown: bool, as_json: bool) -> None:
    if as_json:
        echo_json(comparison.document(found, breaches))
    elif as_markdown:
        echo(comparison.markdown(found, breaches).splitlines())
    else:
        echo(comparison.text(found, breaches))


def _without(found: Comparison) -> str:
    return next(run.name for run in (found.before, found.after) if not run.has_functions)
