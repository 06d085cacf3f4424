# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import pytest

from kbtf_ci.report.html.plots import bars, histogram


def test_the_longest_bar_is_as_wide_as_the_plot() -> None:
    plot = bars("t", [("a", 10, 5, "ten"), ("b", 40, None, "forty")])
    assert [(bar.length, bar.inner) for bar in plot.bars] == [(0.25, 0.125), (1, None)]


def test_bars_of_nothing_have_no_length() -> None:
    assert bars("t", [("a", 0, None, "0")]).bars[0].length == 0
    assert bars("t", []).height == 0


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([1], [1]),
        ([1, 2, 3, 4, 7, 8], [1, 2, 2, 1]),
        ([1, 1024], [1, *[0] * 9, 1]),
        ([0.25, 0.5, 0], [1, 1]),
    ],
)
def test_a_column_holds_what_is_below_twice_its_lower_bound(values: list[float], counts: list[int]) -> None:
    plot = histogram("t", values, str)
    assert plot is not None
    assert [one.count for one in plot.bins] == counts
    assert sum(counts) == sum(value > 0 for value in values)


def test_one_of_thousands_is_still_to_be_seen_and_none_is_not() -> None:
    plot = histogram("t", [1.0] * 5000 + [4.0], str)
    assert plot is not None
    first, empty, last = plot.bins
    assert (empty.height, last.height) == (0, 1.5)
    assert first.y >= 0
    assert plot.note == "5,001 modules; half of them up to 1.0, the largest 4.0."


def test_columns_stay_within_the_plot() -> None:
    plot = histogram("t", [2.0**power for power in range(30)], str)
    assert plot is not None
    assert all(one.x >= 0 and one.x + one.width <= plot.width for one in plot.bins)
    assert len(plot.ticks) <= 4


def test_nothing_above_zero_has_no_histogram() -> None:
    assert histogram("t", [0, 0], str) is None
