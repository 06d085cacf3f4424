# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel's sort(), for where it shows in which order equal elements come out.

What is known of lib/sort.c (Linux 6.12, sort_r()) and decides that order: a heap of the greatest first, built
from its last parent up; an element sinks along the greater children to the bottom, and rises from there past
all that are not greater; of a heap of more than three, the first and the greater of its children are taken at
once, the last two fill the gaps, and the lower gap is settled first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

_Item = TypeVar("_Item")
_Compare = Callable[[_Item, _Item], int]


def kernel_sort(items: Sequence[_Item], compare: _Compare[_Item]) -> list[_Item]:
    """Return ``items`` as the kernel would leave them; ``compare`` is as qsort(3) wants it."""
    heap, taken = list(items), list[_Item]()
    if len(heap) < 2:
        return heap
    for parent in reversed(range(len(heap) // 2)):
        _settle(heap, parent, compare)
    while len(heap) > 3:
        greater = _greater_child(heap, 0, compare)
        taken += heap[0], heap[greater]
        for gap in (0, greater):
            filler = heap.pop()
            if gap < len(heap):
                heap[gap] = filler
        for gap in (greater, 0):
            _settle(heap, gap, compare)
    greatest, *rest = heap
    if len(rest) == 2 and compare(rest[0], rest[1]) >= 0:
        rest.reverse()
    return [*rest, greatest, *reversed(taken)]


def _settle(heap: list[_Item], gap: int, compare: _Compare[_Item]) -> None:
    """Move the element at ``gap``, if there is one, down to its place; those on the way move up by one."""
    if gap >= len(heap):
        return
    way, sinking = [gap], heap[gap]
    while 2 * way[-1] + 1 < len(heap):
        way.append(_greater_child(heap, way[-1], compare))
    while len(way) > 1 and compare(sinking, heap[way[-1]]) >= 0:
        way.pop()
    for upper, lower in pairwise(way):
        heap[upper] = heap[lower]
    heap[way[-1]] = sinking


def _greater_child(heap: list[_Item], parent: int, compare: _Compare[_Item]) -> int:
    """Return where the greater child is; of equals the second, and an only child where it is."""
    first, second = 2 * parent + 1, 2 * parent + 2
    return first if second == len(heap) or compare(heap[first], heap[second]) > 0 else second
