# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""vmlinux's BTF in a flat image, which has no section table: found by its header.

arm64's and riscv's Image, and what s390's, arm's and loongarch's boot images unpack to, are vmlinux's memory
as objcopy -O binary writes it, with .BTF somewhere in it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from kbtf_ci.model.architecture import ByteOrder
from kbtf_ci.objfile.compression import Buffer

# struct btf_header: magic, version 1, no flags, and hdr_len of 24, or since 7.1 of 32 with a layout section.
_ORDERS: Final[tuple[ByteOrder, ...]] = ("<", ">")
_HEADERS: Final = tuple(
    (order, size, struct.pack(f"{order}HBBI", 0xEB9F, 1, 0, size)) for order in _ORDERS for size in (24, 32)
)
_RECORD_BYTES: Final = 12
_TRIES: Final = 10_000  # of each header: a real image has one, and what is made of nothing else ends as well


def find_btf(data: Buffer) -> bytes | None:
    """Return vmlinux's BTF in a flat image of either byte order, None where there is none.

    Of several it is the largest that stands on its own. A kernel may carry BTF of others: that of BPF
    programs which are built in (CONFIG_BPF_PRELOAD, HID-BPF), and of whatever lies unpacked in a built-in
    initramfs. Each describes a program, or as split BTF a module; vmlinux's describes the whole kernel.
    """
    found = max(_candidates(data), key=lambda one: one[1], default=None)
    return None if found is None else data[found[0] : found[0] + found[1]]


def _candidates(data: Buffer) -> Iterator[tuple[int, int]]:
    """Yield where BTF with no base may begin, and its size."""
    for order, header_bytes, beginning in _HEADERS:
        at, tries = data.find(beginning), 0
        while at >= 0 and tries < _TRIES:
            size = _size(data, at, order, header_bytes)
            if size:
                yield at, size
            at, tries = data.find(beginning, at + 1), tries + 1


def _size(data: Buffer, at: int, order: ByteOrder, header_bytes: int) -> int:
    """Return the size of the BTF whose header is at a place, 0 where none without a base begins there."""
    if at + header_bytes + _RECORD_BYTES > len(data):
        return 0
    words = struct.unpack_from(f"{order}{header_bytes // 4 - 2}I", data, at + 8)
    types, strings, *layout = zip(words[::2], words[1::2], strict=True)
    end = _end([types, strings, *layout])
    start = at + header_bytes
    if types[0] or types[1] < _RECORD_BYTES or types[1] % 4 or not 0 < end <= len(data) - start:
        return 0
    return header_bytes + end if _has_names(data, start, strings, order) else 0


def _end(sections: list[tuple[int, int]]) -> int:
    """Return where sections end that lie one behind the other, without a gap; 0 where they do not."""
    end = 0
    for offset, length in sorted(sections):
        if length and offset != end:
            return 0
        end += length
    return end


def _has_names(data: Buffer, start: int, strings: tuple[int, int], order: ByteOrder) -> bool:
    """Whether strings lie between NULs, as those of BTF without a base do, and the first type is one."""
    first, last = start + strings[0], start + strings[0] + strings[1] - 1
    name, info = struct.unpack_from(f"{order}II", data, start)
    return last > first and not data[first] and not data[last] and name < strings[1] and info >> 24 & 0x7F > 0
