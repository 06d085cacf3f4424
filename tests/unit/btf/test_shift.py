# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which base split BTF was written against, told from the split BTF alone."""

from __future__ import annotations

import pytest

from kbtf_ci.btf.base_match.shift import Origin, origin
from kbtf_ci.btf.format.header import Header
from kbtf_ci.btf.format.names import Strings
from kbtf_ci.btf.format.records import walk
from tests.support import sketch as sk
from tests.support.sketch import Sketch

WORDS = ("alpha", "be", "gamma_ray", "d", "epsilon", "zeta99")


def module(types: int, string_bytes: int) -> Sketch:
    """Functions with a prototype each, of irregular order, and names of irregular length."""
    one = Sketch(types, string_bytes)
    for number, word in enumerate(WORDS):
        for _ in range(number % 3):
            one.add(sk.PTR, 0, 1)
        proto = one.add(sk.FUNC_PROTO)
        one.add(sk.FUNC, one.string(word), proto)
    return one


def told(sketch: Sketch) -> Origin:
    data = sketch.bytes()
    header = Header.unpack(data, 24, "<")
    return origin(walk(header.types(data), "<"), Strings(header.strings(data)))


@pytest.mark.parametrize(("types", "string_bytes"), [(113_666, 2_069_254), (54_411, 960_974), (100, 900)])
def test_both_numbers_are_told(types: int, string_bytes: int) -> None:
    assert told(module(types, string_bytes)) == Origin(types, string_bytes)


def test_too_little_tells_nothing() -> None:
    one = Sketch(1000, 5000)
    one.add(sk.CONST, 0, 3)
    assert told(one) == Origin(None, None)


def test_an_empty_type_section_tells_nothing() -> None:
    assert told(Sketch(1000, 5000)) == Origin(None, None)


def test_names_that_fit_two_ways_are_not_told() -> None:
    one = Sketch(1000, 5000)
    for _ in range(4):
        one.string("same")
    for _ in range(3):
        one.add(sk.FWD, 5000 + 5 * len(one.records), 0)
    assert told(one).string_bytes is None
