# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import pytest

from kbtf_ci.model.cluster import Chain, free_places, place_for, shares
from kbtf_ci.model.matrix import Cell

CELLS = tuple(Cell({"pahole": str(number)}, {}) for number in range(7))


@pytest.mark.parametrize(
    ("waiting", "compiling", "each", "workers", "expected"),
    [
        (0, 500, 30, 3, []),
        (7, 500, 30, 1, [7]),
        (7, 500, 30, 3, [7]),  # 210 s beside 500 and more
        (7, 20, 30, 2, [4, 3]),
        (7, 20, 30, 3, [3, 2, 2]),
        (7, 0, 30, 99, [1] * 7),
        (7, 0, 0, 3, [7]),  # nothing is known of what they take
        (7, 20, 30, 0, [7]),
        (1, 0, 30, 3, [1]),
    ],
)
def test_others_get_a_share_where_that_is_sooner_than_to_wait(
    waiting: int, compiling: float, each: float, workers: int, expected: list[int]
) -> None:
    found = shares(CELLS[:waiting], compiling, each, workers)
    assert [len(one) for one in found] == expected
    assert sorted(cell.name for one in found for cell in one) == [cell.name for cell in CELLS[:waiting]]


WORKERS = {"a": {"cell": 1.0}, "b": {"cell": 2.0, "kvm": 1.0}, "c": {"memory": 1.0}}
KVM = Cell({"a": "kvm"}, {"accel": "kvm"})


@pytest.mark.parametrize(
    ("chain", "taken", "place"),
    [
        (Chain(CELLS), {}, "a"),
        (Chain(CELLS), {"a": 1}, "b"),
        (Chain(CELLS), {"a": 1, "b": 2}, None),
        (Chain(CELLS, near="b"), {}, "b"),
        (Chain(CELLS, near="b"), {"b": 2}, None),  # it waits for the objects that are there
        (Chain(CELLS, near="gone"), {}, "a"),
        (Chain(CELLS, away=frozenset("a")), {}, "b"),
        (Chain(CELLS, away=frozenset("a")), {"b": 2}, None),
        (Chain(CELLS, away=frozenset("ab")), {}, "a"),
        (Chain((KVM,)), {}, "b"),
        (Chain((KVM,), near="a"), {}, "b"),
        (Chain((KVM,), away=frozenset("b")), {}, "b"),
        (Chain((KVM,)), {"b": 2}, None),
    ],
)
def test_a_cell_begins_where_there_is_a_place_and_all_that_it_wants(
    chain: Chain, taken: dict[str, int], place: str | None
) -> None:
    assert place_for(chain, WORKERS, taken) == place


def test_places_are_those_of_cells_alone() -> None:
    assert free_places(WORKERS, {}) == 3
    assert free_places(WORKERS, {"a": 1, "b": 1, "gone": 4}) == 1
