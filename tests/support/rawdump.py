# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A BTF as ``bpftool btf dump ... format raw`` prints it (tools/bpf/bpftool/btf.c, dump_btf_type()).

From the reader's columns alone, so that a wrong column becomes a wrong line.
"""

from __future__ import annotations

from collections.abc import Iterator

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import ENTRY_BYTES, Kind

_LINKAGE = {0: "static", 1: "global", 2: "extern"}
_ENCODING = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}


def lines(btf: Btf) -> Iterator[str]:
    """Yield the lines of ``btf``'s own types; a byte of a name is one character (Latin-1)."""
    dump = _Dump(btf)
    for index in range(len(btf.records)):
        yield from dump.record(index)


class _Dump:
    def __init__(self, btf: Btf) -> None:
        records = btf.records
        self.btf = btf
        self.words: list[int] = records.words.tolist()
        self.columns = list(
            zip(
                records.at.tolist(),
                records.kind.tolist(),
                records.vlen.tolist(),
                records.kflag.tolist(),
                records.name_off.tolist(),
                records.value.tolist(),
                strict=True,
            )
        )

        self.places: dict[int, list[int]] = {}
        for kind, size in ENTRY_BYTES.items():
            index = records.of(kind)
            owner, place = records.entries(index, size // 4)
            for record, first in zip(index[owner].tolist(), place.tolist(), strict=True):
                self.places.setdefault(record, []).append(first)

    def record(self, index: int) -> Iterator[str]:
        at, number, vlen, kflag, name_off, value = self.columns[index]
        kind = Kind(number)
        rest = self.words[at + 3 : at + 6]
        if kind in ENTRY_BYTES:
            told = _composed(kind, vlen, value, kflag=kflag)
        else:
            told = _simple(kind, vlen, value, rest, kflag=kflag)
        yield f"[{self.btf.start_id + index}] {kind.name} '{self.name(name_off)}'{told}"
        for place in self.places.get(index, ()):
            entry = self.words[place : place + ENTRY_BYTES[kind] // 4]
            yield "\t" + self.entry(kind, entry, kflag=kflag)

    def entry(self, kind: Kind, words: list[int], *, kflag: bool) -> str:
        if kind is Kind.DATASEC:
            type_id, offset, size = words
            return f"type_id={type_id} offset={offset} size={size}{self.variable(type_id)}"
        name = f"'{self.name(words[0])}'"
        if kind in (Kind.STRUCT, Kind.UNION):
            _, type_id, offset = words
            bits = offset >> 24 if kflag else 0
            start = offset & 0xFF_FFFF if kflag else offset
            return f"{name} type_id={type_id} bits_offset={start}" + (
                f" bitfield_size={bits}" if bits else ""
            )
        if kind is Kind.ENUM:
            return f"{name} val={_number(words[1], 32, signed=kflag)}"
        if kind is Kind.ENUM64:
            value = _number(words[2] << 32 | words[1], 64, signed=kflag)
            return f"{name} val={value}{'LL' if kflag else 'ULL'}"
        return f"{name} type_id={words[1]}"

    def variable(self, type_id: int) -> str:
        """What a DATASEC's entry adds: the variable, in the base or here."""
        owner = self.btf
        while type_id < owner.start_id and owner.base is not None:
            owner = owner.base
        if type_id >= owner.nr_types:
            return ""
        kind = Kind(self.btf.kinds[type_id])
        offset = int(owner.records.name_off[type_id - owner.start_id])
        return f" ({kind.name} '{self.name(offset)}')"

    def name(self, offset: int) -> str:
        if offset == 0:
            return "(anon)"
        names = self.btf.names
        return names.at(offset).decode("latin-1") if offset < names.end else "(invalid)"


def _composed(kind: Kind, vlen: int, value: int, *, kflag: bool) -> str:
    if kind is Kind.FUNC_PROTO:
        return f" ret_type_id={value} vlen={vlen}"
    encoding = f" encoding={'SIGNED' if kflag else 'UNSIGNED'}" if kind in (Kind.ENUM, Kind.ENUM64) else ""
    return f"{encoding} size={value} vlen={vlen}"


def _simple(kind: Kind, vlen: int, value: int, rest: list[int], *, kflag: bool) -> str:
    if kind is Kind.INT:
        data = rest[0]
        encoding = _ENCODING.get(data >> 24 & 0xF, "UNKN")
        return f" size={value} bits_offset={data >> 16 & 0xFF} nr_bits={data & 0xFF} encoding={encoding}"
    if kind is Kind.ARRAY:
        return " type_id={} index_type_id={} nr_elems={}".format(*rest)
    if kind is Kind.FWD:
        return f" fwd_kind={'union' if kflag else 'struct'}"
    if kind is Kind.FLOAT:
        return f" size={value}"
    return f" type_id={value}" + _suffix(kind, vlen, rest)


def _suffix(kind: Kind, vlen: int, rest: list[int]) -> str:
    if kind is Kind.FUNC:
        return f" linkage={_LINKAGE.get(vlen, '(unknown)')}"
    if kind is Kind.VAR:
        return f", linkage={_LINKAGE.get(rest[0], '(unknown)')}"
    if kind is Kind.DECL_TAG:
        return f" component_idx={_number(rest[0], 32, signed=True)}"
    return ""


def _number(value: int, bits: int, *, signed: bool) -> int:
    return value - (1 << bits) if signed and value >> (bits - 1) else value
