# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Columns of the records of some kinds, and of their entries: what the rules of metas.py are asked about."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from kbtf_ci.btf.format.names import Bools, Ints, Names
from kbtf_ci.btf.format.records import Records
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.rules.versions import Rules


@dataclass(frozen=True)
class CheckContext:
    """One type section, as a check sees it: its records, their names, and the kernel's rules."""

    records: Records
    names: Names
    start_id: int
    rules: Rules


@dataclass(frozen=True)
class Rows:
    """Some complete records, one array element each."""

    sight: CheckContext
    index: Ints

    @cached_property
    def name_off(self) -> Ints:
        """First word: the name."""
        return self.sight.records.name_off[self.index]

    @cached_property
    def kind(self) -> Ints:
        """Numbers of ``Kind``."""
        return self.sight.records.kind[self.index]

    @cached_property
    def vlen(self) -> Ints:
        """Number of entries."""
        return self.sight.records.vlen[self.index]

    @cached_property
    def kflag(self) -> Bools:
        """kind_flag."""
        return self.sight.records.kflag[self.index]

    @cached_property
    def value(self) -> Ints:
        """Third word: a size or a type id."""
        return self.sight.records.value[self.index]

    @cached_property
    def identifier(self) -> Bools:
        """Where the name is an identifier; not so for offset 0, whatever stands there."""
        names = self.sight.names.identifiers(self.name_off, self.sight.rules.name_limit)
        return names & (self.name_off != 0)

    @cached_property
    def empty(self) -> Bools:
        """Where the name has no character; offset 0 counts by what stands there, as for the kernel."""
        return self.sight.names.lengths(self.name_off) == 0

    def word(self, number: int) -> Ints:
        """Return a word of what follows the three of each record, from 0."""
        records = self.sight.records
        return records.words[records.at[self.index] + 3 + number]

    def has_kind(self, kind: Kind) -> Bools:
        """Return where the record is of this kind."""
        return self.kind == kind


@dataclass(frozen=True)
class Entries:
    """All entries (members, enumerators, variables of a section) of ``owners``, one array element each.

    ``owner`` is the position of each one's record within ``owners``; ``place`` its first word.
    """

    owners: Rows
    owner: Ints
    place: Ints

    @classmethod
    def of(cls, owners: Rows, words: int) -> Entries:
        """Return the entries, of ``words`` words each, of complete records that have entries."""
        return cls(owners, *owners.sight.records.entries(owners.index, words))

    def word(self, number: int) -> Ints:
        """Return a word of each entry, from 0."""
        return self.owners.sight.records.words[self.place + number]

    @cached_property
    def name_off(self) -> Ints:
        """The first word: a name, in members and enumerators."""
        return self.word(0)

    @cached_property
    def identifier(self) -> Bools:
        """As ``Rows.identifier``."""
        sight = self.owners.sight
        return sight.names.identifiers(self.name_off, sight.rules.name_limit) & (self.name_off != 0)

    @cached_property
    def owner_value(self) -> Ints:
        """The owner's size."""
        return self.owners.value[self.owner]

    def before(self, values: Ints) -> Ints:
        """Return, for each entry, the value of the one before it in the same record; 0 for the first."""
        shifted = values.copy()
        shifted[1:] = values[:-1]
        first = self.owner != _shift(self.owner)
        shifted[first] = 0
        return shifted


def _shift(values: Ints) -> Ints:
    shifted = values.copy()
    shifted[1:] = values[:-1]
    shifted[:1] = -1
    return shifted
