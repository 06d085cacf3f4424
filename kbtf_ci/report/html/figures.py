# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the page of a run plots: sizes, load times, stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from kbtf_ci.model.results import Results
from kbtf_ci.model.run_record import RunRecord
from kbtf_ci.model.sizes import COMMIT, COMMIT_FULL_BYTES, COMMIT_SPLIT_BYTES, Sizes, ratio
from kbtf_ci.report.html.plots import BarPlot, Histogram, bars, histogram

_TOP: Final = 10  # modules, as the commit's tables have


def figures(
    results: Results, record: RunRecord | None, sizes: Sizes | None
) -> Iterator[tuple[str, BarPlot | Histogram]]:
    """Yield plots, each with the macro of plots.html.j2 that draws it."""
    if sizes is not None and sizes.counted:
        yield "bars", _full_and_split(sizes)
    of_sizes = histogram("BTF of a module", [module.btf_bytes for module in results.modules], _bytes)
    of_loads = histogram("Load time of a module", [module.load_us or 0 for module in results.modules], _time)
    yield from (("histogram", plot) for plot in (of_sizes, of_loads) if plot is not None)
    largest = _top({module.name: module.btf_bytes for module in results.modules})
    yield "bars", bars("Largest split BTF", [(name, size, None, _bytes(size)) for name, size in largest])
    slowest = _top({module.name: module.load_us or 0 for module in results.modules})
    if slowest:
        yield "bars", bars("Slowest loads", [(name, us, None, _time(us)) for name, us in slowest])
    if record is not None and record.stages:
        stages = ((name, seconds, None, f"{seconds:.1f} s") for name, seconds in record.stages.items())
        yield "bars", bars("Stages", stages)


def _top(values: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return names with the largest values above 0, largest first."""
    largest = sorted(values.items(), key=lambda item: -item[1])[:_TOP]
    return [(name, value) for name, value in largest if value]


def _full_and_split(sizes: Sizes) -> BarPlot:
    rows = [
        (module.name, module.full_bytes or 0, module.split_bytes,
         f"{_bytes(module.full_bytes or 0)} full, {_bytes(module.split_bytes)} split")
        for module in sizes.top_full(_TOP)
    ]  # fmt: skip
    note = "The dark part is the split BTF."
    return bars("Full against split BTF, the largest", rows, note)


def remarks(sizes: Sizes | None, folder: str) -> Iterator[str]:
    """Yield what the plots say in sums, beside what the commit says that brought split BTF."""
    if sizes is None or not sizes.counted:
        yield f"What split BTF saves is measured by: kbtf-ci sizes {folder}; then kbtf-ci report {folder}"
        return
    commit = ratio(COMMIT_FULL_BYTES, COMMIT_SPLIT_BYTES) or 0
    yield (
        f"{len(sizes.counted):,} modules: {sizes.full_bytes:,} bytes of full BTF, {sizes.split_bytes:,} of "
        f"split BTF, {sizes.ratio or 0:.1f} to 1. Commit {COMMIT} says of about 700 modules: "
        f"{COMMIT_FULL_BYTES:,} to {COMMIT_SPLIT_BYTES:,}, {commit:.1f} to 1."
    )


def _bytes(value: float) -> str:
    """Return a size in a few characters: B, KiB or MiB."""
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= size:
            number = value / size
            return f"{number:.0f} {unit}" if number >= 10 or number == int(number) else f"{number:.1f} {unit}"
    return f"{value:.0f} B"


def _time(us: float) -> str:
    """Return microseconds in a few characters."""
    if us >= 1e6:
        return f"{us / 1e6:.1f} s"
    return f"{us / 1e3:.1f} ms" if us >= 1e3 else f"{us:.0f} µs"
