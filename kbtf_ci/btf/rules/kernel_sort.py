# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel's sort(), for where it shows in which order equal elements come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_Compare = Callable[[_Item, _Item], int]


def kernel_sort(items: Sequence[_Item], compare: _Compare[_Item]) -> list[_Item]:
    """Return ``items`` as lib/sort.c, sort_r(), of Linux 6.12 leaves them: a heap sort that is not stable."""
    heap = list(items)
    end = len(heap)
    if end < 2:
        return heap
    for top in range(end // 2 - 1, -1, -1):
        _sift(heap, top, end, compare)
    while end > 3:
        end = _extract_two(heap, end, compare)
    end -= 1
    _swap(heap, 0, end)
    if end == 2 and compare(heap[0], heap[1]) > 0:
        _swap(heap, 0, 1)
    return heap


def _extract_two(heap: list[_Item], end: int, compare: _Compare[_Item]) -> int:
    _swap(heap, 0, end - 1)
    second = 2 if compare(heap[1], heap[2]) <= 0 else 1
    _swap(heap, second, end - 2)
    end -= 2
    for top in range(second, -1, -second):
        _sift(heap, top, end, compare)
    return end


def _sift(heap: list[_Item], top: int, end: int, compare: _Compare[_Item]) -> None:
    """Sift the element at ``top`` down: along the greater children to a leaf, then back up to its place."""
    place = top
    while (child := 2 * place + 1) + 1 < end:
        place = child if compare(heap[child], heap[child + 1]) > 0 else child + 1
    if child + 1 == end:
        place = child
    while place != top and compare(heap[top], heap[place]) >= 0:
        place = (place - 1) // 2
    bottom = place
    while place != top:
        place = (place - 1) // 2
        _swap(heap, place, bottom)


def _swap(heap: list[_Item], one: int, other: int) -> None:
    heap[one], heap[other] = heap[other], heap[one]
