# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Types by id over a module's own BTF and vmlinux's, and the parameters of functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.records import Records
from kbtf_ci.btf.format.wire import MODIFIERS, Kind

_LONGEST_CHAIN: Final = 64


class NoPrototypeError(Exception):
    """A function without a prototype, or a chain of modifiers that does not end."""


@dataclass(frozen=True)
class Prototype:
    """A FUNC_PROTO: ids of what it returns, 0 for void, and of its parameters' types."""

    returns: int
    parameters: tuple[int, ...]


@dataclass(frozen=True)
class Types:
    """Types by id; ``own`` is a module's BTF over vmlinux's, or vmlinux's."""

    own: Btf

    def at(self, type_id: int) -> tuple[Records, int] | None:
        """Return where a type's record is; None for void and for an id that leads nowhere."""
        owner: Btf | None = self.own
        while owner is not None and type_id < owner.start_id:
            owner = owner.base
        index = type_id - owner.start_id if owner is not None else -1
        return (owner.records, index) if owner is not None and 0 <= index < len(owner.records) else None

    def kind(self, type_id: int) -> Kind | None:
        """Return a type's kind, None for void and for an id that leads nowhere."""
        found = self.at(type_id)
        return None if found is None else Kind(int(found[0].kind[found[1]]))

    def plain(self, type_id: int) -> tuple[int, Kind | None, int]:
        """Return a type behind its modifiers: its id, its kind (None for void), and its third word.

        Raises NoPrototypeError for a chain without an end.
        """
        for _ in range(_LONGEST_CHAIN):
            found = self.at(type_id)
            if found is None:
                return type_id, None, 0
            records, index = found
            kind, value = Kind(int(records.kind[index])), int(records.value[index])
            if kind not in MODIFIERS:
                return type_id, kind, value
            type_id = value
        raise NoPrototypeError

    def prototype(self, func_id: int) -> Prototype:
        """Return the prototype of a FUNC. Raises NoPrototypeError."""
        found = self.at(func_id)
        proto = self.at(int(found[0].value[found[1]])) if found else None
        if proto is None or proto[0].kind[proto[1]] != Kind.FUNC_PROTO:
            raise NoPrototypeError
        records, index = proto
        first = int(records.at[index]) + 3
        words = records.words[first : first + 2 * int(records.vlen[index])].tolist()
        return Prototype(int(records.value[index]), tuple(words[1::2]))
