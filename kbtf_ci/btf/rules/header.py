# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The header and the two sections behind it: btf_parse_hdr() and btf_parse_str_sec() (kernel/bpf/btf.c)."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import Final

from kbtf_ci.btf.format.header import Header
from kbtf_ci.btf.format.records import NATIVE
from kbtf_ci.btf.format.wire import LAYOUT_HEADER_BYTES, MAGIC, MAX_NAME_OFFSET, VERSION
from kbtf_ci.btf.rules.kernel_sort import kernel_sort
from kbtf_ci.btf.rules.rejection import ENOTSUPP, reject

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


def check_header(data: bytes, known: int, *, has_base: bool) -> Header:
    """Return the header that a kernel with one of ``known`` bytes accepts, or raise Rejection."""
    if len(data) < 8:
        raise reject("header.length", "hdr_len not found")
    (length,) = struct.unpack_from(f"{NATIVE}I", data, 4)
    if len(data) < length:
        raise reject("header.whole", "btf_header not found")
    if any(data[known:length]):
        raise reject("header.unknown", "Unsupported btf_header", errno.E2BIG)
    header = Header.unpack(data, known)
    if header.magic != MAGIC:
        raise reject("header.magic", "Invalid magic")
    if header.version != VERSION:
        raise reject("header.version", "Unsupported version", ENOTSUPP)
    if header.flags:
        raise reject("header.flags", "Unsupported flags", ENOTSUPP)
    if not has_base and len(data) == header.hdr_len:
        raise reject("header.no_data", "No data")
    _check_sections(header, len(data) - header.hdr_len)
    at_end = min(known, header.hdr_len) < LAYOUT_HEADER_BYTES
    _check_strings(header, data, at_end=at_end, has_base=has_base)
    return header


def _check_sections(header: Header, expected: int) -> None:
    """btf_check_sec_info()."""
    total = 0
    for offset, length in _sorted(_sections(header)):
        if expected < offset:
            raise reject("sections.offset", "Invalid section offset")
        if total < offset:
            raise reject("sections.gap", "Unsupported section found")
        if total > offset:
            raise reject("sections.overlap", "Section overlap found")
        if expected - total < length:
            raise reject("sections.length", "Total section length too long")
        total += length
    if expected != total:
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
    """btf_parse_str_sec(); since 7.1 a header with a layout section lets the strings lie anywhere."""
    end = header.hdr_len + header.str_off + header.str_len
    if at_end and end != len(data):
        raise reject("strings.end", "String section is not at the end")
    if has_base and header.str_len == 0:
        return
    if header.str_len == 0 or header.str_len - 1 > MAX_NAME_OFFSET or data[end - 1]:
        raise reject("strings.section", "Invalid string section")
    if not has_base and data[end - header.str_len]:
        raise reject("strings.first", "Invalid string section")
