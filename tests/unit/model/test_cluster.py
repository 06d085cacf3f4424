# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import pytest

from kbtf_ci.model.cluster import shares
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
