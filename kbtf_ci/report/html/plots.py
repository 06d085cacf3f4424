# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a page plots, as numbers: bars beside each other, and how many values fall between two bounds. Pure.

templates/plots.html.j2 draws them as SVG.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_WIDTH: Final = 360  # of a plot in its own units: a phone's pixels, so that text is not made small there
_ROW: Final = 34
_BIN_HEIGHT: Final = 110
_TOP: Final = 16


@dataclass(frozen=True)
class Bar:
    """One row: its label, its value as a person reads it, its length from 0 to 1, and a second one inside."""

    label: str
    text: str
    length: float
    inner: float | None = None


@dataclass(frozen=True)
class BarPlot:
    """Rows of bars, the longest as wide as the plot; ``note`` says in words what is to be seen."""

    title: str
    bars: tuple[Bar, ...]
    note: str = ""

    width: int = _WIDTH
    row: int = _ROW

    @property
    def height(self) -> int:
        """In the plot's own units."""
        return _ROW * len(self.bars)


def bars(title: str, rows: Iterable[tuple[str, float, float | None, str]], note: str = "") -> BarPlot:
    """Return a plot of rows of label, value, a part of that value or None, and both as text."""
    listed = list(rows)
    longest = max((value for _, value, _, _ in listed), default=0) or 1
    return BarPlot(
        title,
        tuple(
            Bar(label, text, value / longest, None if part is None else part / longest)
            for label, value, part, text in listed
        ),
        note,
    )


@dataclass(frozen=True)
class Bin:
    """One column: where it stands, how high it is, how many values it holds, and between which bounds."""

    x: float
    width: float
    y: float
    height: float
    count: int
    bounds: str


@dataclass(frozen=True)
class Histogram:
    """Columns of values from small to large, each of twice the values of the one before."""

    title: str
    bins: tuple[Bin, ...]
    ticks: tuple[tuple[float, str], ...]
    note: str

    width: int = _WIDTH
    height: int = _TOP + _BIN_HEIGHT + 20
    base: int = _TOP + _BIN_HEIGHT


def histogram(title: str, values: Sequence[float], shown: Callable[[float], str]) -> Histogram | None:
    """Return a histogram over powers of two; ``shown`` writes a bound. None where no value is above 0."""
    positive = sorted(value for value in values if value > 0)
    if not positive:
        return None
    counts = Counter(math.floor(math.log2(value)) for value in positive)
    low, high = min(counts), max(counts) + 1
    width, most = _WIDTH / (high - low), max(counts.values())
    bins = tuple(
        _bin((power - low) * width, width, counts[power] / most, counts[power],
             f"{shown(2.0**power)} to {shown(2.0 ** (power + 1))}")
        for power in range(low, high)
    )  # fmt: skip
    step = -(-(high - low) // 4)
    ticks = tuple(((power - low) * width, shown(2.0**power)) for power in range(low, high, step))
    middle = positive[len(positive) // 2]
    note = (
        f"{len(positive):,} modules; half of them up to {shown(middle)}, the largest {shown(positive[-1])}."
    )
    return Histogram(title, bins, ticks, note)


def _bin(x: float, width: float, share: float, count: int, bounds: str) -> Bin:
    # One module among thousands is still to be seen.
    height = max(share * _BIN_HEIGHT, 1.5) if count else 0
    return Bin(round(x + 1, 2), round(width - 2, 2), round(_TOP + _BIN_HEIGHT - height, 2),
               round(height, 2), count, bounds)  # fmt: skip
