# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""vmlinux's BTF in images without a section table, told from chance and from the BTF of others."""

from __future__ import annotations

import random
import struct

import pytest

from kbtf_ci.objfile.flat_btf import find_btf
from tests.support import pair
from tests.support import sketch as sk
from tests.support.images import flat

ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def base(order: str = "<") -> bytes:
    return pair.vmlinux(order).bytes()


def with_layout(order: str, *, behind: bool = False) -> bytes:
    """BTF as since 7.1 it may be: a header of 32 bytes, and a layout section before or behind the strings."""
    one = pair.vmlinux(order)
    types, rows = len(one.types()), bytes(80)
    if behind:
        one.more_header = struct.pack(f"{order}II", types + len(one.strings), len(rows))
        one.behind = rows
        return one.bytes()
    one.more_header = struct.pack(f"{order}II", types, len(rows))
    one.header["str_off"] = types + len(rows)
    data = one.bytes()
    return data[: 32 + types] + rows + data[32 + types :]


@ORDERS
@pytest.mark.parametrize("head", [0, 1, 4096, 99_999])
def test_it_is_found_wherever_it_lies_in_either_byte_order(order: str, head: int) -> None:
    assert find_btf(flat(base(order), head=head)) == base(order)
    assert find_btf(flat(base(order), head=head, tail=0)) == base(order)


@ORDERS
@pytest.mark.parametrize("behind", [False, True])
def test_a_layout_section_belongs_to_it(order: str, behind: bool) -> None:
    data = with_layout(order, behind=behind)
    assert find_btf(flat(data)) == data


def test_of_several_the_largest_that_has_no_base_is_vmlinuxs() -> None:
    """Before it and behind it that of a BPF program, and split BTF that is larger than all."""
    program = sk.Sketch(strings=bytearray(b"\0"))
    program.add(sk.INT, program.string("int"), 4, 32)
    module = pair.split(pair.vmlinux())
    for number in range(3000):
        module.add(sk.STRUCT, module.string(f"own_{number}"), 4)
    assert len(module.bytes()) > len(base())
    for parts in ((program.bytes(), base(), module.bytes()), (module.bytes(), base(), program.bytes())):
        assert find_btf(flat(bytes(8).join(parts))) == base()


def changed(at: int, value: int, size: int = 4) -> bytes:
    data = bytearray(base())
    data[at : at + size] = value.to_bytes(size, "little")
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        changed(2, 2, 1),  # another version
        changed(3, 1, 1),  # flags
        changed(4, 28),  # a header of another length
        changed(8, 4),  # types that begin later
        changed(12, 8),  # types that are less than one record
        changed(16, 4),  # strings within the types
        changed(20, 1 << 30),  # strings that end behind the file
        changed(20, 4),  # strings that do not end with a NUL
        changed(28, 0),  # a first type of no kind
        pair.split(pair.vmlinux()).bytes(),
        base()[:-1] + b"x",
        base()[:30],
        b"",
    ],
)
def test_what_only_looks_like_it_is_none(data: bytes) -> None:
    assert find_btf(data) is None
    assert find_btf(flat(data, tail=0)) is None


def test_chance_and_files_of_nothing_but_headers_end_soon() -> None:
    noise = random.Random(3).randbytes(1 << 20)
    assert find_btf(noise + base() + noise) == base()
    assert find_btf(base()[:24] * 1_000_000) is None
