# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The header of BTF (include/uapi/linux/btf.h), apart from what a kernel thinks of it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.format.records import KindSizes
from kbtf_ci.btf.format.wire import LAYOUT_ENTRY, MAGIC
from kbtf_ci.model.architecture import ByteOrder

_MAGICS: Final[Mapping[bytes, ByteOrder]] = {MAGIC.to_bytes(2, "little"): "<", MAGIC.to_bytes(2, "big"): ">"}


def magic_order(data: bytes) -> ByteOrder | None:
    """Return the byte order that BTF's magic tells, None where there is no magic."""
    return _MAGICS.get(data[:2])


@dataclass(frozen=True)
class Header:
    """struct btf_header (include/uapi/linux/btf.h), read in ``order``; what a short one leaves out is 0."""

    order: ByteOrder
    magic: int
    version: int
    flags: int
    hdr_len: int
    type_off: int
    type_len: int
    str_off: int
    str_len: int
    layout_off: int = 0
    layout_len: int = 0

    @classmethod
    def unpack(cls, data: bytes, known: int, order: ByteOrder) -> Header:
        """Return the header at the start of ``data``, of which a kernel knows ``known`` bytes (24 or 32).

        Raises nothing on 8 bytes or more.
        """
        (length,) = struct.unpack_from(f"{order}I", data, 4)
        own = data[: min(length, known)].ljust(known, b"\0")
        magic, version, flags, *words = struct.unpack(f"{order}HBB{(known - 4) // 4}I", own)
        return cls(order, magic, version, flags, *words)

    def layout(self, data: bytes) -> KindSizes:
        """Return what its layout section says of each kind, by number; nothing where there is none."""
        section = self._part(data, self.layout_off, self.layout_len) if self.layout_len else b""
        whole = section[: len(section) // 4 * 4]
        rows = enumerate(struct.iter_unpack(f"{self.order}{LAYOUT_ENTRY}", whole))
        return {kind: (fixed, each) for kind, (fixed, each, _) in rows}

    def types(self, data: bytes) -> bytes:
        """Return the type section."""
        return self._part(data, self.type_off, self.type_len)

    def strings(self, data: bytes) -> bytes:
        """Return the string section."""
        return self._part(data, self.str_off, self.str_len)

    def _part(self, data: bytes, offset: int, length: int) -> bytes:
        return data[self.hdr_len + offset : self.hdr_len + offset + length]
