# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import numpy as np
import pytest

from kbtf_ci.btf.format.names import Ints, Names, Strings

LETTERS = [*range(0x41, 0x5B), *range(0x61, 0x7B)]
# lib/ctype.c: the upper half's letters are those of Latin-1, without the signs for times and divided by.
UPPER_HALF = [code for code in range(0xC0, 0x100) if code not in (0xD7, 0xF7)]
FIRST = {*LETTERS, *UPPER_HALF, ord("_"), ord(".")}
LIMIT = 512


def at(*offsets: int) -> Ints:
    return np.array(offsets, np.int64)


def section(*texts: bytes) -> tuple[Strings, Ints]:
    """Return the section of these strings, and the offset of each."""
    offsets = np.cumsum([0, *(len(text) + 1 for text in texts)])[:-1]
    return Strings(b"".join(text + b"\0" for text in texts)), offsets


def identifiers(*texts: bytes, limit: int = LIMIT) -> list[bool]:
    strings, offsets = section(*texts)
    found: list[bool] = strings.identifiers(offsets, limit).tolist()
    return found


def section_names(*texts: bytes, limit: int = LIMIT) -> list[bool]:
    strings, offsets = section(*texts)
    found: list[bool] = strings.section_names(offsets, limit).tolist()
    return found


def test_a_string_ends_before_its_nul() -> None:
    strings, offsets = section(b"", b"one", b"three")
    assert [strings.at(offset) for offset in offsets.tolist()] == [b"", b"one", b"three"]
    assert strings.lengths(offsets).tolist() == [0, 3, 5]


def test_a_string_may_start_within_another() -> None:
    strings = Strings(b"\0three\0")
    assert strings.at(3) == b"ree"
    assert strings.lengths(at(3)).tolist() == [3]


def test_the_last_string_may_lack_its_nul() -> None:
    strings = Strings(b"\0one")
    assert strings.at(1) == b"one"
    assert strings.lengths(at(1)).tolist() == [3]
    assert strings.identifiers(at(1), LIMIT).tolist() == [True]


@pytest.mark.parametrize("code", range(1, 256))
def test_the_first_byte_of_an_identifier_is_a_letter_underscore_or_dot(code: int) -> None:
    assert identifiers(bytes([code])) == [code in FIRST]


@pytest.mark.parametrize("code", range(1, 256))
def test_later_bytes_of_an_identifier_may_be_digits_as_well(code: int) -> None:
    assert identifiers(b"a%cb" % code) == [code in FIRST or chr(code) in "0123456789"]


@pytest.mark.parametrize("code", range(1, 256))
def test_a_section_name_is_of_printable_bytes(code: int) -> None:
    printable = 0x20 <= code < 0x7F or code >= 0xA0
    assert section_names(bytes([code])) == [printable]
    assert section_names(b".a%c" % code) == [printable]


@pytest.mark.parametrize(("length", "allowed"), [(511, True), (512, True), (513, False)])
def test_a_name_has_at_most_as_many_bytes_as_the_limit(length: int, allowed: bool) -> None:
    name = b"a" * length
    assert identifiers(name) == [allowed]
    assert section_names(name) == [allowed]


def test_the_empty_name_is_no_identifier_and_no_sections() -> None:
    assert identifiers(b"", b"a") == [False, True]
    assert section_names(b"", b"a") == [False, True]


def test_a_bad_byte_spoils_its_own_name_alone() -> None:
    assert identifiers(b"a", b"b-c", b"d") == [True, False, True]
    assert section_names(b"a", b"b\tc", b"d") == [True, False, True]


def test_a_name_within_a_bad_one_is_judged_from_its_own_start() -> None:
    strings = Strings(b"a-bc\0")
    assert strings.identifiers(at(0, 1, 2), LIMIT).tolist() == [False, False, True]


def test_strings_start_behind_a_nul_and_nowhere_else() -> None:
    strings = Strings(b"\0one\0\0two\0")
    starts = strings.starts(np.arange(len(strings), dtype=np.int64))
    assert np.flatnonzero(starts).tolist() == [0, 1, 5, 6]


def test_the_first_byte_starts_a_string_whatever_the_last_one_is() -> None:
    assert Strings(b"ab").starts(at(0, 1)).tolist() == [True, False]


NAMES = Names(Strings(b"\0base\0"), Strings(b"own\0-\0"))
BASE, OWN, BAD = 1, 6, 10


def test_own_names_follow_the_bases() -> None:
    assert NAMES.end == 12
    assert [NAMES.at(offset) for offset in (BASE, OWN, BAD)] == [b"base", b"own", b"-"]
    assert NAMES.lengths(at(OWN, BASE, BAD)).tolist() == [3, 4, 1]


def test_a_name_does_not_reach_from_the_base_into_its_own() -> None:
    names = Names(Strings(b"\0base"), Strings(b"own\0"))
    assert names.at(1) == b"base"
    assert names.lengths(at(1)).tolist() == [4]


@pytest.mark.parametrize("outside", [12, 13, 0xFFFF_FFFF])
def test_behind_all_strings_nothing_is_a_name(outside: int) -> None:
    offsets = at(outside, BASE, OWN, BAD)
    assert NAMES.lengths(offsets).tolist() == [0, 4, 3, 1]
    assert NAMES.identifiers(offsets, LIMIT).tolist() == [False, True, True, False]
    assert NAMES.section_names(offsets, LIMIT).tolist() == [False, True, True, True]
    assert NAMES.starts(offsets).tolist() == [False, True, True, True]


def test_the_first_own_string_starts_where_the_base_ends() -> None:
    assert NAMES.starts(at(OWN - 1, OWN, OWN + 1)).tolist() == [False, True, False]


@pytest.mark.parametrize("names", [Names(Strings(b""), Strings(b"")), NAMES])
def test_no_names_asked_for_are_no_answers(names: Names) -> None:
    none = np.empty(0, np.int64)
    assert (
        names.lengths(none).shape == names.identifiers(none, LIMIT).shape == names.starts(none).shape == (0,)
    )


def test_without_any_string_there_is_no_name() -> None:
    empty = Names(Strings(b""), Strings(b""))
    assert empty.end == 0
    assert empty.identifiers(at(0, 1), LIMIT).tolist() == [False, False]
    assert empty.lengths(at(0, 1)).tolist() == [0, 0]
