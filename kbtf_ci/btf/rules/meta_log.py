# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the kernel prints when it refuses a type, record by record (kernel/bpf/btf.c, btf_verifier_log_*)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from enum import Enum
from typing import Final

from kbtf_ci.btf.format.wire import KIND_NAMES, Kind
from kbtf_ci.btf.rules.rejection import Rejection, bpf_record
from kbtf_ci.btf.rules.rows import CheckContext


class Form(Enum):
    """Which function prints it."""

    LINE = "btf_verifier_log"
    TYPE = "btf_verifier_log_type"
    BASIC = "btf_verifier_log_basic"
    MEMBER = "btf_verifier_log_member"
    VARIABLE = "btf_verifier_log_vsi"


# Where CONFIG_MODULE_ALLOW_BTF_MISMATCH is set these say nothing of a module's own types.
SINGLE_TYPES = frozenset({Form.TYPE, Form.BASIC, Form.MEMBER})


_SIZED: Final = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.DATASEC)


def rejection(
    rule: str,
    sight: CheckContext,
    index: int,
    text: str,
    form: Form,
    *,
    place: int = 0,
    number: int = errno.EINVAL,
) -> Rejection:
    """Return the rejection of record ``index``, or of its entry at word ``place``."""
    told = text.encode()
    parts = [told] if form is Form.LINE else [*_subject(sight, index, form, place), b" ", told, b"\n"]
    return Rejection(rule, tuple(bpf_record(part) for part in parts), number, of_type=form in SINGLE_TYPES)


def name(sight: CheckContext, offset: int) -> bytes:
    """__btf_name_by_offset()."""
    if offset == 0:
        return b"(anon)"
    return sight.names.at(offset) if offset < sight.names.end else b"(invalid-name-offset)"


def _subject(sight: CheckContext, index: int, form: Form, place: int) -> Iterator[bytes]:
    records = sight.records
    if form is Form.VARIABLE:
        yield b"\t type_id=%d offset=%d size=%d" % tuple(records.words[place : place + 3].tolist())
    elif form is Form.MEMBER:
        yield _member(sight, index, place)
    else:
        kind = KIND_NAMES[int(records.kind[index])].encode()
        blank = b" " if form is Form.TYPE else b""
        yield b"[%d] %s %s%s" % (
            sight.start_id + index,
            kind,
            name(sight, int(records.name_off[index])),
            blank,
        )
        if form is Form.TYPE:
            yield from _details(sight, index)


def _member(sight: CheckContext, index: int, place: int) -> bytes:
    name_off, type_id, offset = sight.records.words[place : place + 3].tolist()
    called = name(sight, name_off)
    if sight.records.kflag[index]:
        return b"\t%s type_id=%d bitfield_size=%d bits_offset=%d" % (
            called, type_id, offset >> 24, offset & 0xFF_FFFF,
        )  # fmt: skip
    return b"\t%s type_id=%d bits_offset=%d" % (called, type_id, offset)


def _details(sight: CheckContext, index: int) -> Iterator[bytes]:
    """The log_details of each kind."""
    records = sight.records
    kind, value = int(records.kind[index]), int(records.value[index])
    at = int(records.at[index]) + 3
    rest = tuple(records.words[at : at + 3].tolist())
    if kind == Kind.INT:
        yield _int_details(value, rest[0])
    elif kind == Kind.FWD:
        yield b"union" if records.kflag[index] else b"struct"
    elif kind == Kind.FUNC_PROTO:
        yield from _prototype(sight, index, value)
    elif kind == Kind.DECL_TAG:
        yield b"type=%d component_idx=%d" % (value, (rest[0] ^ 0x8000_0000) - 0x8000_0000)
    elif kind in _SIZED:
        yield b"size=%d vlen=%d" % (value, int(records.vlen[index]))
    else:
        yield _simple_details(kind, value, rest)


def _simple_details(kind: int, value: int, rest: tuple[int, ...]) -> bytes:
    if kind == Kind.ARRAY:
        return b"type_id=%d index_type_id=%d nr_elems=%d" % rest
    if kind == Kind.VAR:
        return b"type_id=%d linkage=%d" % (value, rest[0])
    return (b"size=%d" if kind == Kind.FLOAT else b"type_id=%d") % value


def _int_details(size: int, data: int) -> bytes:
    encodings = {0: b"(none)", 1: b"SIGNED", 2: b"CHAR", 4: b"BOOL"}
    encoding = encodings.get(data >> 24 & 0xF, b"UNKN")
    return b"size=%d bits_offset=%d nr_bits=%d encoding=%s" % (size, data >> 16 & 0xFF, data & 0xFF, encoding)


def _prototype(sight: CheckContext, index: int, returns: int) -> Iterator[bytes]:
    """btf_func_proto_log(): a last parameter of no type is an ellipsis, a single one without comma."""
    records = sight.records
    at, count = int(records.at[index]) + 3, int(records.vlen[index])
    yield b"return=%d args=(" % returns
    if count == 0:
        yield b"void"
    for number in range(count):
        name_off, type_id = records.words[at + 2 * number : at + 2 * number + 2].tolist()
        comma = b", " if number else b""
        last = number == count - 1
        if last and type_id == 0:
            yield comma + b"vararg"
        else:
            yield b"%s%d %s" % (comma, type_id, name(sight, name_off))
    yield b")"
