# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from kbtf_ci.btf.format.reader import Btf, BtfError
from kbtf_ci.btf.format.records import CLASSIC, WIDE, End, needed, walk
from kbtf_ci.btf.format.wire import Kind
from tests.support import sketch as sk
from tests.support.sketch import Sketch

# name_off, info, third, then what follows: the shape of each kind with two entries where it has entries.
TAILS = {
    sk.INT: 4,
    sk.PTR: 0,
    sk.ARRAY: 12,
    sk.STRUCT: 24,
    sk.UNION: 24,
    sk.ENUM: 16,
    sk.FWD: 0,
    sk.TYPEDEF: 0,
    sk.VOLATILE: 0,
    sk.CONST: 0,
    sk.RESTRICT: 0,
    sk.FUNC: 0,
    sk.FUNC_PROTO: 16,
    sk.VAR: 4,
    sk.DATASEC: 24,
    sk.FLOAT: 0,
    sk.DECL_TAG: 4,
    sk.TYPE_TAG: 0,
    sk.ENUM64: 24,
}


def vmlinux() -> Sketch:
    """Ids 1 to 4: int, a struct with two members, a pointer to it, an enum."""
    sketch = sk.Sketch()
    sketch.string("")
    number = sketch.add(sk.INT, sketch.string("int"), 4, 1 << 24 | 32)
    x, y = sketch.string("x"), sketch.string("y")
    point = sketch.add(sk.STRUCT, sketch.string("point"), 8, x, number, 0, y, number, 32, vlen=2)
    sketch.add(sk.PTR, 0, point)
    sketch.add(sk.ENUM, 0, 4, x, 0xFFFF_FFFF, vlen=1, kflag=1)
    return sketch


def module(base: Sketch) -> Sketch:
    """Ids 5 and 6: a typedef of the base's struct, and a struct whose member has its name from the base."""
    sketch = sk.Sketch(base.end_id, base.end_name)
    alias = sketch.add(sk.TYPEDEF, sketch.string("point_t"), 2)
    sketch.add(sk.STRUCT, sketch.string("own"), 8, 5, alias, 0, vlen=1)
    return sketch


@pytest.mark.parametrize("kind", TAILS)
def test_each_kind_has_the_bytes_of_its_shape(kind: int) -> None:
    vlen = 2 if kind in (sk.STRUCT, sk.UNION, sk.ENUM, sk.FUNC_PROTO, sk.DATASEC, sk.ENUM64) else 0
    tail = [0] * (TAILS[kind] // 4)
    sketch = sk.Sketch()
    sketch.add(kind, 0, 0, *tail, vlen=vlen)
    sketch.add(sk.PTR)
    records = walk(sketch.types(), "<")
    assert records.end is End.WHOLE
    assert records.at.tolist() == [0, 3 + len(tail)]
    assert needed(kind, vlen) == TAILS[kind]
    assert Kind(kind) in {Kind(number) for number in records.kind.tolist()}


def test_columns_are_the_words_of_each_record() -> None:
    btf = Btf.parse(vmlinux().bytes())
    records = btf.records
    assert records.kind.tolist() == [Kind.INT, Kind.STRUCT, Kind.PTR, Kind.ENUM]
    assert records.vlen.tolist() == [0, 2, 0, 1]
    assert records.kflag.tolist() == [False, False, False, True]
    assert records.value.tolist() == [4, 8, 2, 4]
    assert [btf.text(offset) for offset in records.name_off.tolist()] == ["int", "point", "", ""]
    assert len(records) == records.complete == 4


def test_entries_have_owner_and_place() -> None:
    sketch = sk.Sketch()
    sketch.add(sk.STRUCT, 0, 0, 10, 11, 12, vlen=1)
    sketch.add(sk.PTR)
    sketch.add(sk.STRUCT)
    sketch.add(sk.UNION, 0, 0, 20, 21, 22, 30, 31, 32, vlen=2)
    records = walk(sketch.types(), "<")
    owner, place = records.entries(records.of(Kind.STRUCT, Kind.UNION), 3)
    assert owner.tolist() == [0, 2, 2]
    assert records.words[place].tolist() == [10, 20, 30]
    assert records.words[place + 2].tolist() == [12, 22, 32]


@pytest.mark.parametrize("kinds", [(Kind.DATASEC,), (Kind.FWD, Kind.DATASEC), ()])
def test_no_records_of_a_kind_have_no_entries(kinds: tuple[Kind, ...]) -> None:
    records = Btf.parse(vmlinux().bytes()).records
    owner, place = records.entries(records.of(*kinds), 3)
    assert owner.tolist() == place.tolist() == []


@pytest.mark.parametrize("kinds", [(Kind.PTR, Kind.INT, Kind.CONST), (Kind.CONST, Kind.INT, Kind.PTR)])
def test_records_of_several_kinds_come_in_their_own_order(kinds: tuple[Kind, ...]) -> None:
    sketch = sk.Sketch()
    for kind in (sk.PTR, sk.CONST, sk.FLOAT, sk.PTR):
        sketch.add(kind)
    records = walk(sketch.types(), "<")
    assert records.of(*kinds).tolist() == [0, 1, 3]
    assert records.of(Kind.PTR).tolist() == [0, 3]


def test_an_empty_section_has_no_records() -> None:
    records = walk(b"", "<")
    assert (len(records), records.end, records.of(Kind.INT).tolist()) == (0, End.WHOLE, [])
    assert records.kind.tolist() == records.value.tolist() == []


def test_a_cut_record_is_the_last_and_not_complete() -> None:
    whole = vmlinux().types()
    records = walk(whole[:-4], "<")
    assert (records.end, len(records), records.complete) == (End.TAIL, 4, 3)
    assert records.of(Kind.ENUM).tolist() == []
    assert records.left(3) == 4


@pytest.mark.parametrize("left", [1, 4, 11])
def test_less_than_a_record_head_is_no_record(left: int) -> None:
    records = walk(vmlinux().types() + bytes(left), "<")
    assert (records.end, len(records), records.complete) == (End.HEAD, 4, 4)


@pytest.mark.parametrize("kind", [0, 20, 31])
def test_an_unknown_kind_ends_the_walk(kind: int) -> None:
    sketch = vmlinux()
    sketch.add(kind)
    sketch.add(sk.PTR)
    records = walk(sketch.types(), "<", CLASSIC)
    assert (records.end, len(records), records.complete) == (End.KIND, 5, 4)


def test_a_kind_is_unknown_to_a_kernel_older_than_it() -> None:
    sketch = sk.Sketch()
    sketch.add(sk.FLOAT)
    assert walk(sketch.types(), "<", CLASSIC, Kind.DATASEC).end is End.KIND
    assert walk(sketch.types(), "<", CLASSIC, Kind.FLOAT).end is End.WHOLE


def test_the_wide_layout_has_more_entries_and_kinds() -> None:
    sketch = sk.Sketch()
    sketch.raw(0, Kind.FUNC << 24 | 0x12_0001, 0)
    sketch.raw(0, 0x40 << 24 | Kind.FUNC << 24, 0)
    assert walk(sketch.types(), "<", CLASSIC).vlen.tolist() == [1, 0]
    wide = walk(sketch.types(), "<", WIDE)
    assert wide.vlen[0] == 0x12_0001
    assert (wide.end, wide.kind.tolist()) == (End.KIND, [Kind.FUNC, 0x40 | Kind.FUNC])


def test_unused_bits_of_info_are_those_of_neither_part() -> None:
    assert (CLASSIC.unused, WIDE.unused) == (0x60FF_0000, 0)


def test_base_btf_starts_behind_void() -> None:
    btf = Btf.parse(vmlinux().bytes())
    assert (btf.start_id, btf.nr_types) == (1, 5)
    assert [btf.name(type_id) for type_id in range(5)] == ["", "int", "point", "", ""]
    assert btf.kinds == bytes([0, Kind.INT, Kind.STRUCT, Kind.PTR, Kind.ENUM])


def test_split_btf_goes_on_where_its_base_ends() -> None:
    base = vmlinux()
    split = Btf.parse(module(base).bytes(), Btf.parse(base.bytes()))
    assert (split.start_id, split.nr_types) == (5, 7)
    assert [split.name(type_id) for type_id in (0, 1, 2, 5, 6)] == ["", "int", "point", "point_t", "own"]
    assert split.kinds == bytes([0, 1, 4, 2, 6, Kind.TYPEDEF, Kind.STRUCT])
    assert split.text(5) == "x"


def test_names_behind_the_strings_are_empty() -> None:
    btf = Btf.parse(vmlinux().bytes())
    assert btf.text(btf.names.end) == btf.text(0xFFFF_FFFF) == ""


def test_types_are_found_by_name_and_kind_among_its_own() -> None:
    base = vmlinux()
    base.add(sk.UNION, base.string("point"))
    btf = Btf.parse(base.bytes())
    assert list(btf.find("point", Kind.STRUCT)) == [2]
    assert list(btf.find("point", Kind.STRUCT, Kind.UNION)) == [2, 5]
    split = Btf.parse(module(base).bytes(), btf)
    assert list(split.find("point", Kind.STRUCT)) == []
    assert list(split.find("own", Kind.STRUCT)) == [7]


def test_a_find_passes_over_names_behind_the_strings() -> None:
    sketch = vmlinux()
    sketch.add(sk.INT, 10_000, 4, 0)
    assert list(Btf.parse(sketch.bytes()).find("int", Kind.INT)) == [1]


def test_either_byte_order_reads_alike() -> None:
    base = vmlinux()
    little, big = Btf.parse(base.bytes()), Btf.parse(sk.turned(base.bytes()))
    assert np.array_equal(little.records.words, big.records.words)
    assert np.array_equal(little.records.at, big.records.at)
    assert (little.order, big.order) == ("<", ">")
    assert (little.strings, little.header) == (big.strings, replace(big.header, order="<"))
    split = module(base).bytes()
    assert Btf.parse(sk.turned(split), big).kinds == Btf.parse(split, little).kinds


@pytest.mark.parametrize("more", [8, 16, 100])
def test_a_longer_header_is_passed_over(more: int) -> None:
    sketch = vmlinux()
    sketch.more_header = bytes(more)
    btf = Btf.parse(sketch.bytes())
    assert btf.header.hdr_len == 24 + more
    assert btf.name(2) == "point"


def test_a_layout_section_is_told_by_the_header() -> None:
    sketch = vmlinux()
    sketch.more_header = struct.pack("<II", 40, 8)
    header = Btf.parse(sketch.bytes()).header
    assert (header.layout_off, header.layout_len) == (40, 8)


def test_strings_may_come_first_and_bytes_behind() -> None:
    sketch = vmlinux()
    sketch.strings_first, sketch.behind = True, b"behind"
    assert Btf.parse(sketch.bytes()).name(2) == "point"


def test_a_module_may_have_no_strings_or_no_types() -> None:
    base = Btf.parse(vmlinux().bytes())
    sketch = sk.Sketch(base.nr_types, len(base.strings))
    sketch.add(sk.PTR, 0, 2)
    assert Btf.parse(sketch.bytes(), base).nr_types == 6
    empty = sk.Sketch(base.nr_types, len(base.strings))
    assert Btf.parse(empty.bytes(), base).nr_types == 5


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_whatever_is_cut_off_is_noticed(split: bool, order: str) -> None:
    base = vmlinux()
    sketch = module(base) if split else base
    data = sketch.bytes() if order == "<" else sk.turned(sketch.bytes())
    parsed = Btf.parse(base.bytes()) if split else None
    for length in range(len(data)):
        with pytest.raises(BtfError, match="BTF cut short" if length >= 24 else "a header has 24"):
            Btf.parse(data[:length], parsed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"magic": 0xEB9E}, "starts with 9eeb0100, not with the magic eb9f"),
        ({"version": 2}, "version 2 is not known"),
        ({"hdr_len": 0xFFFF_FFFF}, "its type section ends behind the"),
        ({"type_len": 0xFFFF_FFFC}, "its type section ends behind the"),
        ({"str_off": 0xFFFF_FFFF}, "its string section ends behind the"),
        ({"type_len": 12}, r"type \[1\]: the type section ends within it"),
        ({"type_len": 20}, r"type \[1\]: the type section ends within the record behind it"),
        ({"str_len": 3}, "does not end with a NUL byte"),
    ],
)
def test_a_header_that_does_not_fit_is_refused_in_words(change: dict[str, int], said: str) -> None:
    sketch = vmlinux()
    sketch.header = change
    with pytest.raises(BtfError, match=said):
        Btf.parse(sketch.bytes())


def test_the_id_of_a_broken_type_counts_the_bases() -> None:
    base = vmlinux()
    sketch = module(base)
    sketch.add(31)
    with pytest.raises(BtfError, match=r"type \[7\]: its kind is not known"):
        Btf.parse(sketch.bytes(), Btf.parse(base.bytes()))


def test_types_may_lead_nowhere() -> None:
    """A stale module's BTF has to be read before it can be called stale."""
    sketch = vmlinux()
    sketch.add(sk.PTR, 99_999, 99_999)
    assert Btf.parse(sketch.bytes()).name(5) == ""


def test_a_layout_section_says_how_long_kinds_are_that_are_not_known_here() -> None:
    """struct btf_layout (include/uapi/linux/btf.h, 7.1): bytes behind the record, bytes an entry, flags."""
    sketch = Sketch(strings=bytearray(b"\0a\0\0"))
    number = sketch.add(sk.INT, 1, 4, 32)
    sketch.raw(1, sk.info(20), 8, 7, 7)
    sketch.raw(0, sk.info(21, 2), 0, 1, 2)
    last = sketch.add(sk.PTR, 0, number)
    rows = [*[(0, 0)] * 20, (8, 0), (0, 4)]
    sketch.behind = b"".join(struct.pack("<BBH", fixed, each, 0) for fixed, each in rows)
    sketch.more_header = struct.pack("<II", len(sketch.types()) + 4, len(sketch.behind))
    btf = Btf.parse(sketch.bytes())
    assert (btf.nr_types, btf.kinds) == (last + 1, bytes([0, sk.INT, 20, 21, sk.PTR]))
    # Sizes of no whole words: nothing can be stepped over.
    sketch.behind = sketch.behind[:80] + b"\x07" + sketch.behind[81:]
    with pytest.raises(BtfError, match=r"type \[2\]: its kind is not known: kind 20 \(LOC_PARAM"):
        Btf.parse(sketch.bytes())
