# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import pytest

from kbtf_ci.btf.format.difference import first_difference
from tests.support import sketch as sk


def base() -> sk.Sketch:
    one = sk.Sketch(strings=bytearray(b"\0"))
    integer = one.add(sk.INT, one.string("int"), 4, 32)
    one.add(sk.STRUCT, one.string("page"), 4, one.string("flags"), integer, 0, vlen=1)
    one.add(sk.PTR, 0, integer)
    return one


WHOLE = base().bytes()
STRINGS = WHOLE.index(b"\0int\0")


@pytest.mark.parametrize(
    ("at", "place"),
    [
        (2, "of its header"),
        (24, "of type [1] INT int"),
        (24 + 15, "of type [1] INT int"),
        (24 + 16, "of type [2] STRUCT page"),
        (24 + 16 + 20, "of type [2] STRUCT page"),
        (24 + 16 + 24, "of type [3] PTR (anon)"),
        (STRINGS + 1, "of the string 'int' at offset 1"),
        (STRINGS + 7, "of the string 'page' at offset 5"),
    ],
)
def test_a_changed_byte_is_named_with_what_it_belongs_to(at: int, place: str) -> None:
    found = bytearray(WHOLE)
    found[at] ^= 0x80
    words = f"byte {at} is {found[at]:#04x} and not {WHOLE[at]:#04x}: {place}"
    assert first_difference(WHOLE, bytes(found)) == words


def test_the_same_is_no_difference_and_several_bytes_are_counted() -> None:
    assert first_difference(WHOLE, WHOLE) == ""
    words = first_difference(WHOLE, WHOLE[:24] + bytes(len(WHOLE) - 24))
    assert words.startswith("byte 24 is 0x00")
    assert ", the first of " in words


def test_what_ends_early_or_cannot_be_read_is_said() -> None:
    assert first_difference(WHOLE, WHOLE[:30]) == (
        f"30 bytes where there are to be {len(WHOLE)}, equal as far as they go"
    )
    assert first_difference(b"garbage", b"garbagf").endswith("of BTF that cannot be read")
    assert first_difference(WHOLE, b"").startswith("0 bytes where")
