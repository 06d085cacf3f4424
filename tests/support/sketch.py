# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""BTF as a test writes it: records as lists of words, changed at will, and put together again.

On purpose none of kbtf_ci.btf: what is tested must not make its own tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST = range(1, 11)
RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(11, 20)
MODIFIERS = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
REFERENCES = (PTR, *MODIFIERS, FUNC, FUNC_PROTO, VAR, DECL_TAG)

_FIXED = {INT: 1, ARRAY: 3, VAR: 1, DECL_TAG: 1}
_ENTRY = {STRUCT: 3, UNION: 3, ENUM: 2, FUNC_PROTO: 2, DATASEC: 3, ENUM64: 3}
_ENTRY_NAME = (STRUCT, UNION, ENUM, FUNC_PROTO, ENUM64)
_ENTRY_TYPE = {STRUCT: 1, UNION: 1, FUNC_PROTO: 1, DATASEC: 0}

HEADER = ("magic", "version", "flags", "hdr_len", "type_off", "type_len", "str_off", "str_len")
_HEADER = {order: struct.Struct(f"{order}HBB5I") for order in "<>"}


def info(kind: int, vlen: int = 0, kflag: int = 0) -> int:
    return kflag << 31 | kind << 24 | vlen


@dataclass
class Sketch:
    """One BTF under construction.

    ``records`` are lists of words: name_off, info, size or type, and what follows. ``first_id`` and
    ``str_base`` are the base's counts of types (with void) and of string bytes; 1 and 0 without a base.
    ``header`` holds fields that shall differ from what the content asks for, ``more_header`` what follows the
    24 bytes of the header, ``behind`` what follows the strings; ``cut`` words are missing behind the types.
    ``order`` is the byte order that it is written in.
    """

    first_id: int = 1
    str_base: int = 0
    records: list[list[int]] = field(default_factory=list)
    strings: bytearray = field(default_factory=bytearray)
    header: dict[str, int] = field(default_factory=dict)
    more_header: bytes = b""
    behind: bytes = b""
    strings_first: bool = False
    cut: int = 0
    order: str = "<"

    def string(self, text: bytes | str) -> int:
        """Append a string and return its offset."""
        offset = self.str_base + len(self.strings)
        self.strings += (text.encode() if isinstance(text, str) else text) + b"\0"
        return offset

    def add(self, kind: int, name: int = 0, third: int = 0, *tail: int, vlen: int = 0, kflag: int = 0) -> int:
        """Append a record and return its type id."""
        return self.raw(name, info(kind, vlen, kflag), third, *tail)

    def raw(self, *words: int) -> int:
        """Append a record of these words and return its type id."""
        self.records.append([word & 0xFFFF_FFFF for word in words])
        return self.first_id + len(self.records) - 1

    @property
    def end_id(self) -> int:
        """The first type id behind all."""
        return self.first_id + len(self.records)

    @property
    def end_name(self) -> int:
        """The first string offset behind all."""
        return self.str_base + len(self.strings)

    def copy(self) -> Sketch:
        return Sketch(
            self.first_id,
            self.str_base,
            [list(words) for words in self.records],
            bytearray(self.strings),
            order=self.order,
        )

    def types(self) -> bytes:
        words = [word for record in self.records for word in record]
        del words[len(words) - self.cut :]
        return struct.pack(f"{self.order}{len(words)}I", *words)

    def bytes(self) -> bytes:
        """Put header and sections together."""
        types = self.types()
        fields = dict.fromkeys(HEADER, 0) | {"magic": 0xEB9F, "version": 1}
        fields["hdr_len"] = _HEADER[self.order].size + len(self.more_header)
        fields["type_len"], fields["str_len"] = len(types), len(self.strings)
        fields["type_off" if self.strings_first else "str_off"] = len(
            self.strings if self.strings_first else types
        )
        fields |= self.header
        head = _HEADER[self.order].pack(*fields.values()) + self.more_header
        body = bytes(self.strings) + types if self.strings_first else types + bytes(self.strings)
        return head + body + self.behind


def kind_of(record: list[int]) -> int:
    return record[1] >> 24 & 0x1F


def name_fields(record: list[int]) -> Iterator[int]:
    """Yield the positions of words that are string offsets."""
    yield 0
    if kind_of(record) in _ENTRY_NAME:
        yield from range(3, len(record), _ENTRY[kind_of(record)])


def type_fields(record: list[int]) -> Iterator[int]:
    """Yield the positions of words that are type ids."""
    kind = kind_of(record)
    if kind in REFERENCES:
        yield 2
    if kind == ARRAY:
        yield from range(3, min(5, len(record)))
    if kind in _ENTRY_TYPE:
        yield from range(3 + _ENTRY_TYPE[kind], len(record), _ENTRY[kind])


def read(btf: bytes, first_id: int = 1, str_base: int = 0) -> Sketch:
    """Return healthy BTF as a sketch, in the byte order that it has."""
    order = "<" if btf[:2] == b"\x9f\xeb" else ">"
    *_, hdr_len, type_off, type_len, str_off, str_len = _HEADER[order].unpack_from(btf)
    words = list(struct.unpack_from(f"{order}{type_len // 4}I", btf, hdr_len + type_off))
    start = hdr_len + str_off
    sketch = Sketch(first_id, str_base, strings=bytearray(btf[start : start + str_len]), order=order)
    at = 0
    while at < len(words):
        kind, vlen = words[at + 1] >> 24 & 0x1F, words[at + 1] & 0xFFFF
        size = 3 + _FIXED.get(kind, 0) + _ENTRY.get(kind, 0) * vlen
        sketch.records.append(words[at : at + size])
        at += size
    return sketch


def turned(btf: bytes, order: str = "<") -> bytes:
    """Return BTF, which is in ``order``, as a machine of the other order has it, whatever is wrong with it.

    Words of the header and of the type section, as far as they lie in the file, and nothing else.
    """
    hdr_len, type_off, type_len = struct.unpack_from(f"{order}III", btf[:16].ljust(16, b"\0"), 4)
    data = bytearray(btf)
    data[:2] = btf[:2][::-1]
    header = range(4, min(max(hdr_len, 8), len(btf)) - 3, 4)
    start = hdr_len + type_off
    types = range(start, min(start + type_len, len(btf)) - 3, 4)
    for at in (*types, *header):
        data[at : at + 4] = btf[at : at + 4][::-1]
    return bytes(data)
