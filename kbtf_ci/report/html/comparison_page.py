# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Two runs beside each other, for a person with a browser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kbtf_ci.model.comparison import Comparison
from kbtf_ci.report.comparison import tables
from kbtf_ci.report.html.plots import BarPlot, bars
from kbtf_ci.report.html.render import render

_TOP: Final = 10


def comparison_page(found: Comparison, breaches: Sequence[str]) -> str:
    """Return the page; all rows of every table are in it."""
    return render(
        "comparison.html.j2",
        title=f"Module BTF: {found.before.release} to {found.after.release}",
        tiles=list(_tiles(found)),
        breaches=breaches,
        has_functions=found.has_functions,
        figures=[("bars", plot) for plot in _plots(found)],
        tables=list(tables(found)),
    )


def _tiles(found: Comparison) -> Iterator[tuple[str, str]]:
    before, after = found.before, found.after
    yield "Before", before.name
    yield "After", after.name
    yield "Modules", f"{len(before.modules):,} → {len(after.modules):,}"
    yield "Bytes of BTF", f"{before.btf_bytes:,} → {after.btf_bytes:,} ({found.growth:+.2f} %)"
    if found.has_functions:
        yield "Functions lost", f"{found.lost_functions:,}"


def _plots(found: Comparison) -> Iterator[BarPlot]:
    """Yield plots of what changed the most, and of the stages of both runs."""
    if found.resized:
        rows = ((one.name, abs(one.bytes_more), None, f"{one.bytes_more:+,}") for one in found.resized[:_TOP])
        yield bars("Bytes of BTF, more or fewer", rows)
    stages = {**found.before.stages, **found.after.stages}
    if stages:
        yield bars(
            "Stages, before and after",
            (
                (f"{name}, {when}", run.stages[name], None, f"{run.stages[name]:.1f} s")
                for name in stages
                for when, run in (("before", found.before), ("after", found.after))
                if name in run.stages
            ),
        )
