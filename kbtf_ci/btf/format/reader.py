# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""BTF as it lies in a file: types as columns, names on demand, split BTF on top of its base."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from kbtf_ci.btf.format.header import Header, magic_order
from kbtf_ci.btf.format.names import Names, Strings
from kbtf_ci.btf.format.records import End, Records, walk
from kbtf_ci.btf.format.wire import HEADER_BYTES, LAYOUT_HEADER_BYTES, MAGIC, VERSION, Kind, told_kind
from kbtf_ci.errors import UsageError
from kbtf_ci.model.architecture import ByteOrder


class BtfError(UsageError):
    """The bytes are not BTF that can be read."""


@dataclass(frozen=True)
class Btf:
    """One ``.BTF``. ``start_id`` is its first type's id; below it lie the base's types, or void alone."""

    header: Header
    records: Records
    strings: Strings
    start_id: int = 1
    base: Btf | None = None

    @classmethod
    def parse(cls, data: bytes, base: Btf | None = None) -> Btf:
        """Return the BTF in ``data``, of either byte order; split BTF wants the base it was written against.

        Raises BtfError where header, sections or types do not fit into each other. What types refer to is
        not looked at: a stale module's BTF can be read.
        """
        order = _byte_order(data)
        header = Header.unpack(data, _known(data, order), order)
        _check(header, data)
        # What a kind that is not known here refers to stays unknown; a layout section says where it ends.
        records = walk(header.types(data), order, newer=header.layout(data))
        if records.end is not End.WHOLE:
            start = 1 if base is None else base.nr_types
            raise _broken(records, start + max(len(records) - 1, 0))
        return cls.of(header, data, records, base)

    @classmethod
    def beginning(cls, data: bytes) -> Btf | None:
        """Return a base as far as its kinds are known; None where header or sections do not fit either."""
        try:
            order = _byte_order(data)
            header = Header.unpack(data, _known(data, order), order)
            _check(header, data)
        except BtfError:
            return None
        return cls.of(header, data, walk(header.types(data), order, newer=header.layout(data)), None)

    @classmethod
    def of(
        cls, header: Header, data: bytes, records: Records, base: Btf | None, start_id: int | None = None
    ) -> Btf:
        """Return the BTF made of these parts; its ids start behind the base's, or at ``start_id``."""
        first = start_id if start_id is not None else base.nr_types if base else 1
        return cls(header, records, Strings(header.strings(data)), first, base)

    @property
    def order(self) -> ByteOrder:
        """The byte order that it is written in."""
        return self.header.order

    @property
    def nr_types(self) -> int:
        """Number of type ids, void's and the base's included: the last id and one."""
        return self.start_id + len(self.records)

    @cached_property
    def names(self) -> Names:
        """The names that its types may have."""
        return Names(self.base.strings if self.base else Strings(b""), self.strings)

    @cached_property
    def kinds(self) -> bytes:
        """The kind of every type id, one byte each, void's and the base's first."""
        own = self.records.kind.astype(np.uint8).tobytes()
        below = self.base.kinds if self.base else b"\0"
        return below[: self.start_id] + own

    def name(self, type_id: int) -> str:
        """Return the name of one of its own types or of its base's; "" for void and what has none."""
        if type_id < self.start_id:
            return self.base.name(type_id) if self.base else ""
        return self.text(int(self.records.name_off[type_id - self.start_id]))

    def text(self, offset: int) -> str:
        """Return the string at an offset, "" behind the strings."""
        return self.names.at(offset).decode(errors="replace") if offset < self.names.end else ""

    def own_names(self, *kinds: Kind) -> tuple[str, ...]:
        """Return the names of its own types, not the base's, of these kinds, in the order of their ids."""
        offsets = self.records.name_off[self.records.of(*kinds)].tolist()
        data, start, end = self.strings.data, len(self.names.base), self.names.end
        # Straight out of its own strings, where nearly all of them are: there are many.
        return tuple(
            data[offset - start : data.find(b"\0", offset - start)].decode(errors="replace")
            if start <= offset < end
            else self.text(offset)
            for offset in offsets
        )

    def find(self, name: str, *kinds: int) -> Iterator[int]:
        """Yield the ids of its own types of these kinds that have this name."""
        wanted = name.encode()
        for index in np.flatnonzero(np.isin(self.records.kind, kinds)).tolist():
            offset = int(self.records.name_off[index])
            if offset < self.names.end and self.names.at(offset) == wanted:
                yield self.start_id + index


_BROKEN: Final = {
    End.HEAD: "the type section ends within the record behind it",
    End.TAIL: "the type section ends within it",
}


class NewerKindError(BtfError):
    """A type is of a kind that came after those that are known here."""


def _broken(records: Records, type_id: int) -> BtfError:
    if records.end is not End.KIND:
        return BtfError(f"BTF type [{type_id}]: {_BROKEN[records.end]}")
    kind = int(records.kind[-1])
    if not kind:
        return BtfError(f"BTF type [{type_id}]: its kind is not known: kind 0, which is no type's")
    return NewerKindError(newer_kind(type_id, kind))


def newer_kind(type_id: int, kind: int) -> str:
    """Return in words that a type is of a kind which came after those that are known here."""
    return (
        f"BTF type [{type_id}]: its kind is not known: {told_kind(kind)}, and kbtf-ci knows kinds up to "
        f"{int(max(Kind))} ({max(Kind).name}); a newer pahole or kernel wrote it, or it is damaged"
    )


def _byte_order(data: bytes) -> ByteOrder:
    if len(data) < HEADER_BYTES:
        raise BtfError(f"not BTF: {len(data)} bytes, a header has {HEADER_BYTES}")
    order = magic_order(data)
    if order is None:
        raise BtfError(f"not BTF: it starts with {data[:4].hex()}, not with the magic {MAGIC:04x}")
    return order


def _known(data: bytes, order: ByteOrder) -> int:
    (length,) = struct.unpack_from(f"{order}I", data, 4)
    return LAYOUT_HEADER_BYTES if length >= LAYOUT_HEADER_BYTES else HEADER_BYTES


def _check(header: Header, data: bytes) -> None:
    if header.version != VERSION:
        raise BtfError(f"BTF version {header.version} is not known")
    for what, offset, length in (
        ("type", header.type_off, header.type_len),
        ("string", header.str_off, header.str_len),
    ):
        if header.hdr_len + offset + length > len(data):
            raise BtfError(f"BTF cut short: its {what} section ends behind the {len(data)} bytes")
    strings = header.strings(data)
    if strings and strings[-1]:
        raise BtfError("BTF's string section does not end with a NUL byte")
