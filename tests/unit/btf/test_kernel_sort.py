# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Our kernel_sort() against what the kernel's own sort_r() made of the same keys.

The expected orders are results of lib/sort.c of Linux 6.12.118, compiled as it is and run once over elements
of eight bytes (a key and a number).
"""

from __future__ import annotations

import hashlib
from typing import NoReturn

import pytest

from kbtf_ci.btf.rules.kernel_sort import kernel_sort

SPREADS = (1, 2, 3, 7, 1000)
SIZES = range(64)
# Where elements that are all equal come from.
EQUALS = {
    2: "1 0",
    3: "2 1 0",
    4: "1 3 2 0",
    5: "3 1 4 2 0",
    6: "1 3 4 5 2 0",
    7: "3 1 4 5 6 2 0",
    8: "1 3 4 5 6 7 2 0",
    9: "3 1 4 5 6 7 8 2 0",
    10: "1 3 4 5 6 7 8 9 2 0",
    11: "3 1 4 5 6 7 8 9 10 2 0",
    12: "1 3 4 5 6 7 8 9 10 11 2 0",
}
# SHA-256 of the orders of all sizes, a line each, by the number of different keys.
DIGESTS = {
    1: "5b6ff614985c7db17edcecf25c67fd1cfbd52081718df130ddd04046a0b86b41",
    2: "5b6ff614985c7db17edcecf25c67fd1cfbd52081718df130ddd04046a0b86b41",
    3: "3b0b97842760adc5941ddc366816c2be498b459fd360bc8048b19064df34ee65",
    7: "894b5847116b530b6e2d0b43efbd29764fa3e2afa7ebde495d26ed490215ffc5",
    1000: "9620ce3014d7c7d64642ca5346f3a61e6bfb73f9ffffd960d0038bdbce54d1ea",
}


def keys(size: int, spread: int) -> list[int]:
    return [(31 * n * n + 17 * n + size) % spread for n in range(size)]


def order(values: list[int]) -> list[int]:
    pairs = kernel_sort([(key, n) for n, key in enumerate(values)], lambda a, b: a[0] - b[0])
    return [number for _, number in pairs]


@pytest.mark.parametrize("size", EQUALS)
def test_equal_elements_come_out_in_the_kernels_order(size: int) -> None:
    assert order([0] * size) == [int(word) for word in EQUALS[size].split()]


@pytest.mark.parametrize("spread", SPREADS)
def test_keys_of_any_spread_come_out_in_the_kernels_order(spread: int) -> None:
    found = [order(keys(size, spread)) for size in SIZES]
    for size, numbers in zip(SIZES, found, strict=True):
        values = keys(size, spread)
        assert [values[n] for n in numbers] == sorted(values)
        assert sorted(numbers) == list(range(size))
    lines = "".join(" ".join(map(str, numbers)) + "\n" for numbers in found)
    assert hashlib.sha256(lines.encode()).hexdigest() == DIGESTS[spread]


def test_the_kernels_sort_is_not_stable() -> None:
    assert order([0, 0]) != [0, 1]


@pytest.mark.parametrize("items", [[], [5]])
def test_what_needs_no_sorting_is_not_compared(items: list[int]) -> None:
    def never(_one: int, _other: int) -> NoReturn:
        raise AssertionError

    assert kernel_sort(items, never) == items
