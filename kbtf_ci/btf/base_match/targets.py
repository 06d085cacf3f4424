# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What type ids lead to: the type behind modifiers, and its size. The kernel never asks this of a module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from kbtf_ci.btf.format.names import Bools, Ints
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import MODIFIERS, Kind

NO_SIZE: Final = -1
_SIZED: Final = (Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT)
# A chain has at most 32 modifiers, arrays of arrays are few.
_PASSES: Final = 34
_WIDEST_POINTER: Final = 8


@dataclass(frozen=True)
class Targets:
    """For each id of a BTF's own types: ``resolved``, the first id behind its modifiers, and ``size``.

    ``size`` is in bytes, NO_SIZE for what has none (void, FUNC, FWD, a chain without end). Every PTR has
    ``pointer_bytes``.
    """

    btf: Btf
    base: Targets | None
    resolved: Ints
    size: Ints
    pointer_bytes: int

    @classmethod
    def of(cls, btf: Btf, base: Targets | None = None, pointer_bytes: int | None = None) -> Targets:
        """Return the targets of ``btf``, whose base's are ``base``; ids that do not exist count as void.

        Without ``pointer_bytes`` it is the base's, or told from ``btf``.
        """
        if pointer_bytes is None:
            pointer_bytes = base.pointer_bytes if base else told_pointer_bytes(btf)
        records = btf.records
        own = np.arange(len(records)) + btf.start_id
        modifiers = records.of(*MODIFIERS)
        resolved = own.copy()
        resolved[modifiers] = records.value[modifiers]
        targets = cls(btf, base, resolved, np.full(len(records), NO_SIZE), pointer_bytes)
        for _ in range(_PASSES):
            following = targets.resolve(resolved[modifiers])
            if (following == resolved[modifiers]).all():
                break
            resolved[modifiers] = following
        targets._fill_sizes()
        return targets

    def resolve(self, ids: Ints) -> Ints:
        """Return what ids lead to, as far as ``resolved`` says now; 0 for those that do not exist."""
        return self._look_up(ids, "resolved", 0)

    def sizes(self, ids: Ints) -> Ints:
        """Return the size in bytes of each id's type, NO_SIZE where it has none."""
        return self._look_up(self.resolve(ids), "size", NO_SIZE)

    def are(self, ids: Ints, kinds: tuple[Kind, ...]) -> Bools:
        """Return which ids are types of these kinds; those that do not exist count as void."""
        known = np.frombuffer(self.btf.kinds, np.uint8)
        wanted = np.zeros(256, np.bool_)
        wanted[list(kinds)] = True
        return wanted[known[np.where(ids < len(known), ids, 0)]]

    def _fill_sizes(self) -> None:
        records, size = self.btf.records, self.size
        plain = records.of(*_SIZED)
        size[plain] = records.value[plain]
        size[records.of(Kind.PTR)] = self.pointer_bytes
        arrays = records.of(Kind.ARRAY)
        element, count = records.words[records.at[arrays] + 3], records.words[records.at[arrays] + 5]
        for _ in range(_PASSES):
            of_element = self.sizes(element)
            filled = np.where(of_element == NO_SIZE, NO_SIZE, of_element * count)
            if (filled == size[arrays]).all():
                break
            size[arrays] = filled

    def _look_up(self, ids: Ints, column: str, missing: int) -> Ints:
        found = np.full(ids.shape, missing)
        own = (ids >= self.btf.start_id) & (ids < self.btf.nr_types)
        found[own] = getattr(self, column)[ids[own] - self.btf.start_id]
        below = ids < self.btf.start_id
        if self.base is not None and below.any():
            found[below] = self.base._look_up(ids[below], column, missing)
        return found


def told_pointer_bytes(btf: Btf) -> int:
    """Return how many bytes a pointer has, by the size of C's ``long``; 8 where the BTF has no such INT.

    On every architecture of Linux the two are equal, which libbpf makes use of too (tools/lib/bpf/btf.c,
    btf__pointer_size()).
    """
    for type_id in btf.start_id + btf.records.of(Kind.INT):
        size = int(btf.records.value[type_id - btf.start_id])
        if size in (4, _WIDEST_POINTER) and _is_long(btf.name(int(type_id))):
            return size
    return _WIDEST_POINTER


def _is_long(name: str) -> bool:
    """Whether a compiler calls C's long so: by itself, or with ``int`` and ``unsigned`` in any order."""
    words = name.split()
    return words.count("long") == 1 and sorted({*words, "long", "int", "unsigned"}) == [
        "int",
        "long",
        "unsigned",
    ]
