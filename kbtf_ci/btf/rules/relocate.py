# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Split BTF, moved from its ``.BTF.base`` to vmlinux's (tools/lib/bpf/btf_relocate.c, btf_relocate())."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from kbtf_ci.btf.format.fields import name_offsets, type_ids
from kbtf_ci.btf.format.names import Ints
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import COMPOSITES, MODIFIERS, Kind
from kbtf_ci.btf.rules.kernel_sort import kernel_sort
from kbtf_ci.btf.rules.rejection import Rejection

RULES: Final = (
    "relocate.anonymous",
    "relocate.kind",
    "relocate.empty_name",
    "relocate.ambiguous",
    "relocate.unmapped",
    "relocate.string",
)
_DISTILLED: Final = (Kind.INT, Kind.FLOAT, Kind.ENUM, Kind.STRUCT, Kind.UNION, Kind.FWD)
_SIZED: Final = (Kind.INT, Kind.FLOAT, Kind.ENUM, Kind.ENUM64)
_EMBEDDED: Final = -1


class UncheckedError(Exception):
    """The kernel would follow an id that nothing has checked: it may oops, hang or read beyond its arrays."""


class Base:
    """vmlinux's BTF, by the names of the types that a distilled one may stand for."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf

    @cached_property
    def by_name(self) -> dict[bytes, list[int]]:
        """Indices of the records, ascending."""
        found: dict[bytes, list[int]] = {}
        records, names = self.btf.records, self.btf.names
        for index in records.of(*_DISTILLED, Kind.ENUM64).tolist():
            offset = int(records.name_off[index])
            if offset:
                found.setdefault(names.at(offset), []).append(index)
        return found

    @cached_property
    def composites(self) -> Counter[int]:
        """How many STRUCTs and UNIONs have a name, by its offset."""
        records = self.btf.records
        return Counter(records.name_off[records.of(*COMPOSITES)].tolist())


@dataclass(frozen=True)
class _Type:
    """One record, as matching sees it."""

    id: int
    kind: int
    kflag: bool
    size: int
    encoding: int
    name_off: int

    @classmethod
    def of(cls, btf: Btf, index: int) -> _Type:
        records = btf.records
        kind = int(records.kind[index])
        data = int(records.words[records.at[index] + 3]) if kind == Kind.INT else 0
        return cls(
            btf.start_id + index,
            kind,
            bool(records.kflag[index]),
            int(records.value[index]),
            data >> 24 & 0xF,
            int(records.name_off[index]),
        )


def relocate(split: Btf, data: bytes, base: Base) -> bytes:
    """Return ``data``, the bytes of ``split``, with ids and names rewritten for ``base``.

    ``split.base`` is the distilled base. Raises Rejection as the kernel would refuse, UncheckedError where it
    would follow an id that does not exist.
    """
    distilled = split.base
    if distilled is None:
        raise ValueError("split BTF without its base")
    _validate(distilled)
    ids, strings = _match(distilled, base, _embedded(split))
    own = np.arange(len(split.records)) + base.btf.nr_types
    words = split.records.words.copy()
    _rewrite_ids(split, words, np.concatenate([ids, own]))
    _rewrite_strings(split, words, strings, base)
    start = split.header.hdr_len + split.header.type_off
    packed = words.astype(f"{split.order}u4").tobytes()
    return data[:start] + packed + data[start + len(packed) :]


def _validate(distilled: Btf) -> None:
    """btf_relocate_validate_distilled_base()."""
    records = distilled.records
    for index, kind in enumerate(records.kind.tolist()):
        if kind not in _DISTILLED:
            raise _warned(
                "relocate.kind", b"type [%d] in distilled based BTF has unexpected kind [%d]", index + 1, kind
            )
        if records.name_off[index] == 0:
            raise _warned(
                "relocate.anonymous",
                b"type [%d], kind [%d] is invalid for distilled base BTF; it is anonymous",
                index + 1,
                kind,
            )


def _embedded(split: Btf) -> set[int]:
    """Return the distilled composites that a composite of ``split`` holds by value.

    btf_mark_embedded_composite_type_ids(): through modifiers and arrays, not through pointers.
    """
    records = split.records
    _, place = records.entries(records.of(*COMPOSITES), 3)
    found = {_held(split, member) for member in np.unique(records.words[place + 1]).tolist()}
    return {type_id for type_id in found if 0 < type_id < split.start_id}


def _held(split: Btf, type_id: int) -> int:
    """Return the composite that a member of this type is, 0 if it is none."""
    for _ in range(split.nr_types + 1):
        if type_id >= split.nr_types:
            raise UncheckedError(f"member of type {type_id}, of {split.nr_types}")
        kind = split.kinds[type_id]
        if kind in COMPOSITES:
            return type_id
        if kind not in MODIFIERS and kind != Kind.ARRAY:
            return 0
        type_id = _next(split, type_id)
    raise UncheckedError("a member's arrays refer to each other in a circle")


def _next(split: Btf, type_id: int) -> int:
    owner = split if type_id >= split.start_id else split.base
    if owner is None:
        return 0
    index = type_id - owner.start_id
    records = owner.records
    if records.kind[index] == Kind.ARRAY:
        return int(records.words[records.at[index] + 3])
    return int(records.value[index])


def _match(distilled: Btf, base: Base, embedded: set[int]) -> tuple[Ints, dict[int, int]]:
    """btf_relocate_map_distilled_base(): distilled id -> base id, and distilled name -> base name."""
    ids = np.zeros(distilled.start_id + len(distilled.records) if len(distilled.records) else 0, np.int64)
    ids[list(embedded)] = _EMBEDDED
    strings: dict[int, int] = {}
    by_name = _distilled_by_name(distilled)
    for candidate in _candidates(by_name, base):
        name = base.btf.names.at(candidate.name_off)
        sized = candidate.kind in _SIZED or (
            candidate.kind in COMPOSITES and base.composites[candidate.name_off] > 1
        )
        for one in by_name[name]:
            if sized and one.size & 0x7FFF_FFFF != candidate.size & 0x7FFF_FFFF:
                continue
            _take(one, candidate, name, ids, strings)
    _all_mapped(distilled, ids)
    return ids, strings


def _distilled_by_name(distilled: Btf) -> dict[bytes, list[_Type]]:
    """Return the distilled types of each name, in the order in which the kernel tries them."""
    if not len(distilled.records):
        return {}
    types = [_Type(0, Kind.UNKN, kflag=False, size=0, encoding=0, name_off=0)]
    types += [_Type.of(distilled, index) for index in range(len(distilled.records))]
    found: dict[bytes, list[_Type]] = {}
    for name, one in kernel_sort(
        [(distilled.names.at(one.name_off), one) for one in types], _by_name_and_size
    ):
        found.setdefault(name, []).append(one)
    return found


def _by_name_and_size(one: tuple[bytes, _Type], other: tuple[bytes, _Type]) -> int:
    """cmp_btf_name_size(): by name, the larger first."""
    if one[0] != other[0]:
        return 1 if one[0] > other[0] else -1
    return (other[1].size & 0x7FFF_FFFF) - (one[1].size & 0x7FFF_FFFF)


def _candidates(by_name: dict[bytes, list[_Type]], base: Base) -> Iterator[_Type]:
    """Yield the base's types of these names, by id, as the kernel passes them."""
    indices = sorted(index for name in by_name for index in base.by_name.get(name, ()))
    for index in indices:
        yield _Type.of(base.btf, index)


def _take(one: _Type, candidate: _Type, name: bytes, ids: Ints, strings: dict[int, int]) -> None:
    if one.id == 0:
        text = b"base BTF id [%d] maps to invalid distilled base BTF id [%d]"
        raise _warned("relocate.empty_name", text, candidate.id, 0)
    if not _compatible(one, candidate, embedded=ids[one.id] == _EMBEDDED):
        return
    if ids[one.id] > 0:
        text = (
            b"distilled base BTF type '%s' [%d], size %d has multiple candidates of the same size"
            b" (ids [%d, %d]) in base BTF"
        )
        raise _warned(
            "relocate.ambiguous", text, name, one.id, candidate.size, candidate.id, int(ids[one.id])
        )
    ids[one.id] = candidate.id
    strings[one.name_off] = candidate.name_off


def _compatible(one: _Type, candidate: _Type, *, embedded: bool) -> bool:
    """Whether the kernel takes ``candidate`` for ``one``: a struct for a union too, by name alone."""
    if one.kind == Kind.FWD:
        # As in the kernel: a composite's own kind_flag is taken for that of a forward declaration.
        wanted = {Kind.FWD: one.kflag, Kind.STRUCT: False, Kind.UNION: True}
        return candidate.kind in wanted and wanted[Kind(candidate.kind)] == candidate.kflag
    if one.kind in COMPOSITES:
        return not embedded or one.size == candidate.size
    if one.kind == Kind.ENUM:
        return candidate.kind in (Kind.ENUM, Kind.ENUM64)
    return candidate.kind == one.kind and candidate.encoding == one.encoding


def _all_mapped(distilled: Btf, ids: Ints) -> None:
    for type_id in np.flatnonzero(ids[1:] <= 0)[:1].tolist():
        name = distilled.names.at(int(distilled.records.name_off[type_id]))
        text = b"distilled base BTF type '%s' [%d] is not mapped to base BTF id"
        raise _warned("relocate.unmapped", text, name, type_id + 1)


def _rewrite_ids(split: Btf, words: Ints, ids: Ints) -> None:
    places = type_ids(split.records)
    if (words[places] >= len(ids)).any():
        raise UncheckedError("a type id beyond the last type")
    words[places] = ids[words[places]]


def _rewrite_strings(split: Btf, words: Ints, strings: dict[int, int], base: Base) -> None:
    """Shift what names one of its own strings; a distilled string must be the name of a mapped type."""
    places = name_offsets(split.records)
    offsets = words[places]
    start = len(split.base.strings) if split.base else 0
    own = offsets >= start
    offsets[own] += len(base.btf.strings) - start
    for i in np.flatnonzero(~own & (words[places] != 0)).tolist():
        offset = int(offsets[i])
        if not strings.get(offset):
            text = b"string '' [offset %d] is not mapped to base BTF"
            raise _warned("relocate.string", text, offset, number=errno.ENOENT)
        offsets[i] = strings[offset]
    words[places] = offsets


def _warned(rule: str, text: bytes, *values: bytes | int, number: int = errno.EINVAL) -> Rejection:
    return Rejection(rule, (text % values,), number)
