# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci matrix plan``, ``run`` and ``report``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands import complete
from kbtf_ci.commands.options import cluster_options, cluster_options_of, combine, common_options
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.errors import UsageError
from kbtf_ci.infra.paths import shown_path
from kbtf_ci.infra.rundir import write_text
from kbtf_ci.model.matrix_results import MatrixResults
from kbtf_ci.report import matrix as report
from kbtf_ci.report.html.matrix_page import matrix_page
from kbtf_ci.workflow import matrix as workflow
from kbtf_ci.workflow.matrix_needs import needs_of

_file = click.argument("file", metavar="FILE|NAME", shell_complete=complete.matrices)
_only = click.option("--only", multiple=True, metavar="CELL", help="This cell alone; repeatable.")
_formats = combine(
    click.option("--markdown", "as_markdown", is_flag=True, help="Print the table for a pull request."),
    click.option("--json", "as_json", is_flag=True, help="Print what each cell came to as JSON."),
)


@click.group()
def matrix() -> None:
    """Run every combination of kernels, toolchains, paholes and configurations."""


@matrix.command("plan")
@_file
@_only
@click.option("--github", is_flag=True, help="Print a strategy's matrix for fromJSON() in GitHub Actions.")
@click.option("--gitlab", is_flag=True, help="Print a child pipeline for GitLab.")
@click.option("--json", "as_json", is_flag=True, help="Print the cells as JSON.")
@common_options
def plan_(
    *,
    file: str,
    only: tuple[str, ...],
    github: bool,
    gitlab: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Show the cells of a matrix, and the command that each is."""
    with reporting(quiet=quiet, debug=debug):
        if github + gitlab + as_json > 1:
            raise UsageError("--github, --gitlab and --json: one of them at a time")
        plan = workflow.plan(file, only)
        if github:
            if len(plan.cells) > report.GITHUB_CELLS:
                raise UsageError(
                    f"{file}: {len(plan.cells)} cells, and GitHub Actions takes {report.GITHUB_CELLS}",
                    hint="make two matrices of it",
                )
            echo([report.github(plan)])
        elif gitlab:
            echo(report.gitlab(plan).splitlines())
        elif as_json:
            echo_json(report.plan_document(plan, needs_of(plan)))
        else:
            echo(report.plan_text(plan, needs_of(plan)))


@matrix.command("run")
@_file
@_only
@click.option(
    "-o", "--output-dir", "output", type=click.Path(path_type=Path), metavar="DIR",
    help="Where its cells are run; runs/matrix-<name> without it.",
)  # fmt: skip
@click.option("--at-once", type=click.IntRange(min=1), help="Cells at once; else as cores and memory allow.")
@cluster_options
@click.option("--again", is_flag=True, help="Run cells that are done too, and compare with what they were.")
@_formats
@common_options
def run_(
    *,
    file: str,
    only: tuple[str, ...],
    output: Path | None,
    at_once: int | None,
    again: bool,
    as_markdown: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **cluster: Any,
) -> None:
    """Run the cells of a matrix that are not done; what was interrupted goes on.

    It exits with 1 where a cell came to something that was not expected, with 5 where one came to no verdict.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        plan = workflow.plan(file)
        folder = workflow.folder_of(plan, output)
        options = workflow.MatrixOptions(at_once, only, again, cluster_options_of(cluster))
        found = workflow.run_matrix(plan, folder, options, reporter)
        reporter.close()
        _show(found, as_markdown=as_markdown, as_json=as_json)
        if not (as_markdown or as_json):
            echo([f"report: {shown_path(folder / workflow.PAGE)}"])
        sys.exit(found.exit_code)


@matrix.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write the table as a page for a browser.",
)  # fmt: skip
@_formats
@common_options
def report_(
    *, folder: Path, html: Path | None, as_markdown: bool, as_json: bool, quiet: bool, debug: bool
) -> None:
    """Show what the matrix in DIR came to so far; the exit code is that of its run."""
    with reporting(quiet=quiet, debug=debug):
        found = workflow.read_results(folder)
        if html is not None:
            write_text(html, matrix_page(found))
        _show(found, as_markdown=as_markdown, as_json=as_json)
        sys.exit(found.exit_code)


def _show(found: MatrixResults, *, as_markdown: bool, as_json: bool) -> None:
    if as_markdown and as_json:
        raise UsageError("--markdown and --json: one of them at a time")
    if as_json:
        echo_json(report.document(found))
    elif as_markdown:
        echo(report.markdown(found).splitlines())
    else:
        echo(report.text(found))
