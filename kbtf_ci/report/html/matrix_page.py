# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A matrix of runs, for a person with a browser."""

from __future__ import annotations

from collections.abc import Iterator

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.matrix_results import MatrixResults, Standing
from kbtf_ci.report.html.render import render
from kbtf_ci.report.matrix import columns, faults, rows


def matrix_page(found: MatrixResults) -> str:
    """Return the page; every cell is in its table."""
    return render(
        "matrix.html.j2",
        title=f"Module BTF: matrix {found.plan.name}",
        description=found.plan.description,
        verdict=_verdict(found),
        passed=found.exit_code is ExitCode.VERIFIED,
        tiles=list(_tiles(found)),
        faults=list(faults(found)),
        columns=columns(found),
        rows=list(rows(found)),
        axes=len(found.plan.axes),
    )


def _verdict(found: MatrixResults) -> str:
    return {ExitCode.VERIFIED: "As expected", ExitCode.NOT_VERIFIED: "Not as expected"}.get(
        found.exit_code, "Not whole"
    )


def _tiles(found: MatrixResults) -> Iterator[tuple[str, str]]:
    standings = list(found.standings.values())
    yield "Cells", f"{len(standings):,}"
    yield from ((one.value.capitalize(), f"{standings.count(one):,}") for one in Standing if one in standings)
