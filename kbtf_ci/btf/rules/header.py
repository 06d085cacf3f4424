# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The header and the two sections behind it: btf_parse_hdr() and btf_parse_str_sec() (kernel/bpf/btf.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.format.header import Header
from kbtf_ci.btf.format.wire import LAYOUT_HEADER_BYTES, MAGIC, MAX_NAME_OFFSET, VERSION
from kbtf_ci.btf.rules.kernel_sort import kernel_sort
from kbtf_ci.btf.rules.rejection import ENOTSUPP, reject
from kbtf_ci.model.architecture import ByteOrder

RULES: Final = (
    "header.length",
    "header.whole",
    "header.unknown",
    "header.magic",
    "header.version",
    "header.flags",
    "header.no_data",
    "sections.offset",
    "sections.gap",
    "sections.overlap",
    "sections.length",
    "sections.trailing",
    "strings.end",
    "strings.section",
    "strings.first",
)


_Row = tuple[str, str, int, Callable[[Header], bool]]
# btf_parse_hdr(): what is asked of the fields, in the kernel's order.
_FIELDS: Final[tuple[_Row, ...]] = (
    ("header.magic", "Invalid magic", errno.EINVAL, lambda header: header.magic != MAGIC),
    ("header.version", "Unsupported version", ENOTSUPP, lambda header: header.version != VERSION),
    ("header.flags", "Unsupported flags", ENOTSUPP, lambda header: header.flags != 0),
)


@dataclass(frozen=True)
class _Placed:
    """A section as it stands behind the header: ``used`` bytes are taken before it, of ``room``."""

    offset: int
    length: int
    used: int
    room: int


# btf_check_sec_info(): what is asked of each section, by offset: together they are one after the other.
_PLACES: Final[tuple[tuple[str, str, Callable[[_Placed], bool]], ...]] = (
    ("sections.offset", "Invalid section offset", lambda one: one.offset > one.room),
    ("sections.gap", "Unsupported section found", lambda one: one.offset > one.used),
    ("sections.overlap", "Section overlap found", lambda one: one.offset < one.used),
    ("sections.length", "Total section length too long", lambda one: one.used + one.length > one.room),
)


def check_header(data: bytes, known: int, order: ByteOrder, *, has_base: bool) -> Header:
    """Return the header that a kernel of this byte order, with one of ``known`` bytes, accepts.

    Raises Rejection: in the other byte order it is the magic that the kernel does not know.
    """
    _check_length(data, known, order)
    header = Header.unpack(data, known, order)
    for rule, text, number, fails in _FIELDS:
        if fails(header):
            raise reject(rule, text, number)
    room = len(data) - header.hdr_len
    if room == 0 and not has_base:
        raise reject("header.no_data", "No data")
    _check_sections(header, room)
    at_end = min(known, header.hdr_len) < LAYOUT_HEADER_BYTES
    _check_strings(header, data, at_end=at_end, has_base=has_base)
    return header


def _check_length(data: bytes, known: int, order: ByteOrder) -> None:
    """hdr_len comes first; what is behind the ``known`` bytes must be zero."""
    if len(data) < 8:
        raise reject("header.length", "hdr_len not found")
    (length,) = struct.unpack_from(f"{order}I", data, 4)
    if length > len(data):
        raise reject("header.whole", "btf_header not found")
    if any(data[known:length]):
        raise reject("header.unknown", "Unsupported btf_header", errno.E2BIG)


def _check_sections(header: Header, room: int) -> None:
    used = 0
    for offset, length in _sorted(_sections(header)):
        one = _Placed(offset, length, used, room)
        for rule, text, fails in _PLACES:
            if fails(one):
                raise reject(rule, text)
        used += length
    if used < room:
        raise reject("sections.trailing", "Unsupported section found")


def _sections(header: Header) -> Iterable[tuple[int, int]]:
    yield header.type_off, header.type_len
    yield header.str_off, header.str_len
    if header.layout_len and header.hdr_len >= LAYOUT_HEADER_BYTES:
        yield header.layout_off, header.layout_len


def _sorted(sections: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort as btf_sec_info_cmp() does, whose differences of u32 are taken as int: 2^31 sorts before 0."""

    def signed(value: int) -> int:
        return (value & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000

    def compare(one: tuple[int, int], other: tuple[int, int]) -> int:
        return signed(one[0] - other[0]) or signed(one[1] - other[1])

    # At a difference of 2^31 the answer depends on what is compared with what.
    return kernel_sort(list(sections), compare)


def _check_strings(header: Header, data: bytes, *, at_end: bool, has_base: bool) -> None:
    """btf_parse_str_sec(); since 7.1 a header with a layout section lets the strings lie anywhere.

    The sections lie within ``data`` by now. Only split BTF may do without strings, or without the empty one
    at their start.
    """
    strings = header.strings(data)
    if at_end and header.hdr_len + header.str_off + len(strings) < len(data):
        raise reject("strings.end", "String section is not at the end")
    if not strings and has_base:
        return
    if not strings.endswith(b"\0") or len(strings) > MAX_NAME_OFFSET + 1:
        raise reject("strings.section", "Invalid string section")
    if not (has_base or strings.startswith(b"\0")):
        raise reject("strings.first", "Invalid string section")
