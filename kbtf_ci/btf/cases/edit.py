# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""BTF rewritten: words and strings of healthy BTF changed in place, records added, header fields set."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import numpy as np

from kbtf_ci.btf.cases.case import NotThereError
from kbtf_ci.btf.format.fields import name_offsets, type_ids
from kbtf_ci.btf.format.header import magic_order
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import HEADER_BYTES, MAGIC, VERSION, Kind
from kbtf_ci.model.architecture import ByteOrder

_HEADER: Final = {order: struct.Struct(f"{order}HBB5I") for order in ("<", ">")}
_FIELDS: Final = ("magic", "version", "flags", "hdr_len", "type_off", "type_len", "str_off", "str_len")

# What a record's words are, from its first: struct btf_type, then what its kind has.
NAME, INFO, THIRD, TAIL = 0, 1, 2, 3
KFLAG: Final = 1 << 31


class Draft:
    """BTF under change: ``words`` of its type section and ``strings``, as they are to be written.

    Everything that is not changed comes out as it went in.
    """

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.words: list[int] = btf.records.words.tolist()
        self.strings = bytearray(btf.strings.data)

    @property
    def string_base(self) -> int:
        """Offset of its first own string: the length of the base's strings."""
        return len(self.btf.names.base)

    def find(self, *kinds: Kind, vlen: int = 0, suits: Callable[[int], bool] = lambda _: True) -> int:
        """Return where the first own record of these kinds with ``vlen`` entries at least begins, as a word.

        Bit fields and what does not ``suit`` are passed over. Raises NotThereError.
        """
        records = self.btf.records
        for index in records.of(*kinds).tolist():
            start = int(records.at[index])
            if records.vlen[index] >= vlen and not records.kflag[index] and suits(start):
                return start
        raise NotThereError(f"no {' or '.join(kind.name for kind in kinds)} that would do in its BTF")

    def id_at(self, start: int) -> int:
        """Return the type id of the record that begins at a word."""
        return self.btf.start_id + int(np.searchsorted(self.btf.records.at, start))

    def string(self, text: str) -> int:
        """Append a string and return its offset."""
        offset = self.string_base + len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset

    def bytes(self) -> bytes:
        """Return header, types and strings, put together anew."""
        return assembled(self.words, bytes(self.strings), self.btf.order)


class Written:
    """BTF written from nothing, over a base of which two numbers are known.

    ``first_id`` is the first own type's id, ``string_base`` the length of the base's strings; 1 and 0 for BTF
    that is a base itself.
    """

    def __init__(self, first_id: int = 1, string_base: int = 0) -> None:
        self.words: list[int] = []
        self.strings = bytearray(b"" if string_base else b"\0")
        self.string_base = string_base
        self.next_id = first_id

    def string(self, text: str) -> int:
        """Append a string and return its offset."""
        offset = self.string_base + len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset

    def add(self, kind: Kind, name: int = 0, third: int = 0, *tail: int, vlen: int = 0) -> int:
        """Append a record and return its type id."""
        self.words += [name, info(kind, vlen), third, *tail]
        self.next_id += 1
        return self.next_id - 1

    def bytes(self, order: ByteOrder) -> bytes:
        """Return header, types and strings."""
        return assembled(self.words, bytes(self.strings), order)


def info(kind: int, vlen: int = 0, kflag: int = 0) -> int:
    """Return the second word of a record."""
    return kflag << 31 | kind << 24 | vlen


def assembled(words: list[int], strings: bytes, order: ByteOrder) -> bytes:
    """Return BTF of these types and strings."""
    types = struct.pack(f"{order}{len(words)}I", *words)
    fields = (MAGIC, VERSION, 0, HEADER_BYTES, 0, len(types), len(types), len(strings))
    return _HEADER[order].pack(*fields) + types + strings


def with_header(btf: bytes, **fields: int) -> bytes:
    """Return BTF with fields of its header changed and nothing else."""
    header = _header(btf)
    values = dict(zip(_FIELDS, header.unpack_from(btf), strict=True)) | fields
    return header.pack(*values.values()) + btf[HEADER_BYTES:]


def header_field(btf: bytes, name: str) -> int:
    """Return a field of its header."""
    return int(_header(btf).unpack_from(btf)[_FIELDS.index(name)])


def _header(btf: bytes) -> struct.Struct:
    return _HEADER[magic_order(btf) or "<"]


def written_against(btf: Btf, *, types: int = 0, string_bytes: int = 0) -> bytes:
    """Return split BTF as it were written against a base with so many types and string bytes more.

    Its own ids and names begin that much later; what refers to the base stays.
    """
    draft = Draft(btf)
    for place in type_ids(btf.records).tolist():
        if draft.words[place] >= btf.start_id:
            draft.words[place] += types
    for place in name_offsets(btf.records).tolist():
        if draft.words[place] >= draft.string_base:
            draft.words[place] += string_bytes
    return draft.bytes()


def enlarged(vmlinux: Btf, names: int = 1000) -> bytes:
    """Return vmlinux's BTF as a larger build would have it, with so many functions more of long names."""
    draft = Draft(vmlinux)
    added = Written(vmlinux.nr_types)
    for number in range(names):
        added.add(Kind.FUNC, draft.string(f"kbtf_ci_{number:0100}"), added.add(Kind.FUNC_PROTO))
    draft.words += added.words
    return draft.bytes()


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """Return ``data`` with ``new`` in the place of as many bytes."""
    return data[:at] + new + data[at + len(new) :]
