# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kbtf_ci.model.prune import Item, Kind, days, decide

NOW = datetime(2026, 11, 25, tzinfo=UTC)
MONTH = timedelta(days=30)


def item(name: str, age_days: float, kind: Kind = Kind.BUILD, **facts: Any) -> Item:
    return Item(kind, name, 100, NOW - timedelta(days=age_days), "", **facts)


def going(*items: Item, keep: timedelta = MONTH, everything: bool = False) -> dict[str, str]:
    """Return what goes, and of the rest why it stays: "-" before the reason of what goes."""
    decisions = decide(items, keep, NOW, everything=everything)
    assert [one.item for one in decisions] == list(items)
    return {one.item.name: f"-{one.reason}" if one.remove else one.reason for one in decisions}


def test_what_was_not_used_for_so_long_goes_but_for_the_newest_of_each_kind() -> None:
    assert going(
        item("a", 100), item("b", 50), item("c", 29), item("d", 31), item("s", 90, Kind.SOURCE)
    ) == {
        "a": "-not used for 30 d", "b": "-not used for 30 d", "c": "the newest of its kind",
        "d": "-not used for 30 d", "s": "the newest of its kind",
    }  # fmt: skip


def test_what_was_used_lately_stays() -> None:
    assert going(item("a", 2), item("b", 1)) == {"a": "used within 30 d", "b": "the newest of its kind"}
    assert going(item("a", 2), item("b", 1), keep=timedelta(hours=36))["a"] == "-not used for 36 h"


@pytest.mark.parametrize("everything", [False, True])
def test_what_is_in_use_stays_in_any_case(everything: bool) -> None:
    assert going(item("a", 100, in_use=True), item("b", 1), everything=everything)["a"] == "in use"


def test_what_the_next_run_asks_for_stays_unless_everything_goes() -> None:
    images = (item("old", 100, Kind.TOOLCHAIN), item("now", 200, Kind.TOOLCHAIN, current=True))
    assert going(*images, item("x", 1, Kind.TOOLCHAIN))["now"] == "the current one"
    assert going(*images, everything=True) == dict.fromkeys(("old", "now"), "-everything is to go")


@pytest.mark.parametrize("everything", [False, True])
def test_what_something_that_stays_is_made_of_stays_as_well(everything: bool) -> None:
    source = item("tree", 100, Kind.SOURCE, needed_by=frozenset({"tree-smoke", "tree-gone"}))
    other = item("other", 1, Kind.SOURCE)
    build, gone = item("tree-smoke", 1, in_use=True), item("tree-gone", 100)
    assert going(source, other, build, gone, everything=everything)["tree"] == "tree-smoke needs it"
    assert going(source, other, gone, item("x", 1))["tree"].startswith("-")


def test_what_was_left_over_goes_when_nobody_can_be_at_it_any_more() -> None:
    left = [item(".unpack-a", 2, Kind.LEFT_OVER), item(".unpack-b", 0.5, Kind.LEFT_OVER)]
    pruned = item(".pruned-c", 0, Kind.LEFT_OVER, discarded=True)
    for everything in (False, True):
        assert going(*left, pruned, everything=everything) == {
            ".unpack-a": "-a command that was killed left it",
            ".unpack-b": "may be in the making",
            ".pruned-c": "-a command that was killed left it",
        }


def test_ages() -> None:
    assert [days(timedelta(hours=hours)) for hours in (12, 24, 36, 720)] == ["12 h", "1 d", "36 h", "30 d"]
