# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the kernel cannot see: split BTF that it would load, although it was written against another base.

The kernel checks neither where type ids lead nor what names point into (btf_parse_module() never runs the
resolve phase of btf_parse(), kernel/bpf/btf.c). What an encoder writes keeps to the rules here; split BTF on
top of another base soon breaks one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from kbtf_ci.btf.base_match.targets import NO_SIZE, Targets
from kbtf_ci.btf.format.fields import name_offsets, type_ids
from kbtf_ci.btf.format.names import Bools, Ints
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import COMPOSITES, ENTRY_BYTES, MODIFIERS, Kind


@dataclass(frozen=True)
class BaseMismatch:
    """The first type that cannot have been written against this base: its id, and what is wrong with it.

    ``rule`` names the rule it breaks, ``count`` how many types break one.
    """

    type_id: int
    rule: str
    text: str
    count: int


# No data is of these kinds: nothing but FUNC's, VAR's and DATASEC's own places leads to them.
_NO_DATA: Final = (Kind.FUNC, Kind.VAR, Kind.DATASEC, Kind.DECL_TAG)
_BIT_FIELD: Final = (Kind.INT, Kind.ENUM, Kind.ENUM64)
_NAME_LIMIT: Final = 512  # KSYM_NAME_LEN
_TAGGED: Final = (Kind.STRUCT, Kind.UNION, Kind.TYPEDEF, Kind.FUNC, Kind.VAR, Kind.FUNC_PROTO)


@dataclass(frozen=True)
class _References:
    """References of one sort: the record each stands in, and the id it is."""

    record: Ints
    target: Ints

    @classmethod
    def of(cls, several: list[_References]) -> _References:
        return cls(
            np.concatenate([one.record for one in several]), np.concatenate([one.target for one in several])
        )


@dataclass(frozen=True)
class _Members(_References):
    """Members of STRUCTs and UNIONs: where each starts, and of how many bits a bit field is, 0 for others."""

    start: Ints
    bits: Ints


_Found = tuple[str, Ints, Callable[[int], str]]


def find_base_mismatch(split: Btf, base: Targets) -> BaseMismatch | None:
    """Return the first type of ``split`` that does not belong on this base, None if all may."""
    first: tuple[int, str, str] | None = None
    broken: set[int] = set()
    for rule, records, tell in _Pass(split, Targets.of(split, base)).findings():
        if not len(records):
            continue
        broken.update(records.tolist())
        position = int(np.argmin(records))
        record = int(records[position])
        if first is None or record < first[0]:
            first = record, rule, tell(position)
    if first is None:
        return None
    record, rule, text = first
    type_id = split.start_id + record
    return BaseMismatch(type_id, rule, f"{describe(split, type_id)} {text}", len(broken))


def describe(btf: Btf, type_id: int) -> str:
    """Return ``[id] KIND 'name'`` of a type, as far as there is one."""
    if type_id >= btf.nr_types:
        return f"[{type_id}] (no such type)"
    kind = btf.kinds[type_id]
    name = btf.name(type_id)
    word = Kind(kind).name if kind else "void"
    return f"[{type_id}] {word} '{name}'" if name else f"[{type_id}] {word}"


class _Pass:
    """One look over a split BTF."""

    def __init__(self, split: Btf, targets: Targets) -> None:
        self.split = split
        self.records = split.records
        self.targets = targets

    def findings(self) -> Iterator[_Found]:
        """Yield, for each rule, the records that break it and a function that tells how the n-th does."""
        yield self._missing()
        yield self._names_within()
        yield self._leads("FUNC", self._third(Kind.FUNC), (Kind.FUNC_PROTO,))
        yield self._leads("DATASEC", self._entries(Kind.DATASEC, 0), (Kind.VAR,))
        yield self._leads("DECL_TAG", self._third(Kind.DECL_TAG), _TAGGED)
        yield self._resolves("array index", self._array(4), (Kind.INT,))
        yield self._no_data()
        yield self._functions_by_value()
        yield self._sizeless()
        yield self._outside()
        yield self._bit_fields()
        yield self._parameter_names()

    def _owner(self, places: Ints) -> Ints:
        return np.searchsorted(self.records.at, places, side="right") - 1

    def _third(self, *kinds: Kind) -> _References:
        index = self.records.of(*kinds)
        return _References(index, self.records.value[index])

    def _array(self, word: int) -> _References:
        index = self.records.of(Kind.ARRAY)
        return _References(index, self.records.words[self.records.at[index] + word])

    def _entries(self, kind: Kind, word: int) -> _References:
        index = self.records.of(kind)
        owner, place = self.records.entries(index, ENTRY_BYTES[kind] // 4)
        return _References(index[owner], self.records.words[place + word])

    @cached_property
    def _held(self) -> _References:
        """Elements of arrays and members: what is held by value."""
        return _References.of([self._array(3), self._entries(Kind.STRUCT, 1), self._entries(Kind.UNION, 1)])

    @cached_property
    def _members(self) -> _Members:
        records = self.records
        index = records.of(*COMPOSITES)
        owner, place = records.entries(index, ENTRY_BYTES[Kind.STRUCT] // 4)
        offset, kflag = records.words[place + 2], records.kflag[index][owner]
        return _Members(
            record=index[owner],
            target=records.words[place + 1],
            start=np.where(kflag, offset & 0xFF_FFFF, offset),
            bits=np.where(kflag, offset >> 24, 0),
        )

    def _told(self, rule: str, seen: _References, broken: Bools, what: str) -> _Found:
        record, target = seen.record[broken], seen.target[broken]
        return rule, record, lambda n: f"{what} {describe(self.split, int(target[n]))}"

    def _missing(self) -> _Found:
        places = type_ids(self.records)
        seen = _References(self._owner(places), self.records.words[places])
        return self._told("missing", seen, seen.target >= self.split.nr_types, "refers to")

    def _names_within(self) -> _Found:
        """An encoder shares whole strings only: a name never starts within another."""
        places = name_offsets(self.records)
        offsets = self.records.words[places]
        broken = np.flatnonzero(~self.split.names.starts(offsets) & (offsets != 0))
        text = self.split.text
        return (
            "name",
            self._owner(places[broken]),
            lambda n: f"has a name that starts within another string: '{text(int(offsets[broken[n]]))}'",
        )

    def _leads(self, whose: str, seen: _References, kinds: tuple[Kind, ...]) -> _Found:
        broken = ~self.targets.are(seen.target, kinds)
        wanted = "/".join(kind.name for kind in kinds)
        return self._told(f"{whose} target", seen, broken, f"wants a {wanted}, but leads to")

    def _resolves(self, what: str, seen: _References, kinds: tuple[Kind, ...]) -> _Found:
        broken = ~self.targets.are(self.targets.resolve(seen.target), kinds)
        return self._told(what, seen, broken, f"has as {what}")

    def _no_data(self) -> _Found:
        everywhere = [
            self._third(Kind.PTR, Kind.VAR, Kind.FUNC_PROTO, *MODIFIERS),
            self._held,
            self._entries(Kind.FUNC_PROTO, 1),
        ]
        seen = _References.of(everywhere)
        broken = self.targets.are(seen.target, _NO_DATA)
        return self._told("no data", seen, broken, "refers, where only data can be, to")

    def _functions_by_value(self) -> _Found:
        """C passes and returns pointers to functions alone; a bare prototype is never a value."""
        seen = _References.of([self._third(Kind.FUNC_PROTO), self._entries(Kind.FUNC_PROTO, 1)])
        broken = self.targets.are(self.targets.resolve(seen.target), (Kind.FUNC_PROTO,))
        return self._told("function by value", seen, broken, "takes or returns a function by value:")

    def _sizeless(self) -> _Found:
        seen = _References.of([self._held, self._third(Kind.VAR)])
        broken = self.targets.sizes(seen.target) == NO_SIZE
        return self._told("no size", seen, broken, "holds what has no size:")

    def _outside(self) -> _Found:
        """A member of a STRUCT or UNION ends within it; bit fields are left out."""
        members = self._members
        end = members.start + 8 * self.targets.sizes(members.target)
        broken = (members.bits == 0) & (end > 8 * self.records.value[members.record])
        return self._told("outside", members, broken, "is too small for its member")

    def _bit_fields(self) -> _Found:
        """A bit field is of an integer or enumerated type, and no wider than it (C11, 6.7.2.1)."""
        members = self._members
        whole_numbers = self.targets.are(self.targets.resolve(members.target), _BIT_FIELD)
        broken = (members.bits > 0) & ~(
            whole_numbers & (members.bits <= 8 * self.targets.sizes(members.target))
        )
        return self._told("bit field", members, broken, "has a bit field that cannot be of type")

    def _parameter_names(self) -> _Found:
        index = self.records.of(Kind.FUNC_PROTO)
        owner, place = self.records.entries(index, 2)
        offsets = self.records.words[place]
        broken = np.flatnonzero((offsets != 0) & ~self.split.names.identifiers(offsets, _NAME_LIMIT))
        return (
            "parameter name",
            index[owner][broken],
            lambda n: f"has a parameter named '{self.split.text(int(offsets[broken[n]]))}'",
        )
