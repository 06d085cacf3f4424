# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Sets of kfuncs as they lie in ``.BTF_ids``.

A set is struct btf_id_set8 (include/linux/btf_ids.h): a count, flags, and for each function its type's id
and flags. resolve_btfids puts in the count, from the size of the set's symbol, and the ids, and sorts them:
the symbols of the single functions then no longer lie where their ids do. Since 6.9 (commit 6f3189f38a3e) a
set of kfuncs has BTF_SET8_KFUNCS among its flags. A file without symbols does not say where sets begin: that
flag tells them, and ids that are functions and ascend. What cannot be told is left out, and called neither
sound nor unsound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.types import Types
from kbtf_ci.objfile.elf import PlacedSymbol

SECTION: Final = ".BTF_ids"
KFUNCS: Final = 1  # BTF_SET8_KFUNCS, include/linux/btf_ids.h
_KNOWN_FLAGS: Final = 1 << 20  # what is above this is no kfunc's flags
_MOST: Final = 1024  # functions of a set that its shape alone tells; the kernel takes 256
_CERTAIN: Final = 4  # so many entries make a set of what else would be a chance, though one is no function
_ANY, _SET, _FUNCTION = "__BTF_ID__", "__BTF_ID__set8__", "__BTF_ID__func__"


@dataclass(frozen=True)
class Kfunc:
    """One entry: its type's id, 0 where it was not resolved, its flags, and its name, "" for not known."""

    type_id: int
    flags: int
    name: str


@dataclass(frozen=True)
class KfuncSet:
    """One set: ``offset`` in ``.BTF_ids`` in bytes, its name, "" without symbols.

    ``count`` is what its first word says, and what the kernel goes by; ``kfuncs`` are what was declared.
    ``declared`` are the names of the symbols in it, in the order of the source; none without symbols.
    """

    offset: int
    name: str
    flags: int
    kfuncs: tuple[Kfunc, ...]
    count: int
    declared: tuple[str, ...] = ()


@dataclass(frozen=True)
class Symbols:
    """What symbols say of a ``.BTF_ids``: its sets, and the functions named, by their places in bytes.

    ``there``: the file has such symbols, and what they do not name is no set.
    """

    there: bool = False
    sets: dict[int, PlacedSymbol] = field(default_factory=dict)
    functions: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, symbols: Iterable[PlacedSymbol]) -> Symbols:
        """Sort out symbols; of two in one place, as a list's own and its first entry's, each is kept."""
        there, sets, functions = False, {}, {}
        for symbol in symbols:
            there = there or symbol.name.startswith(_ANY)
            if symbol.name.startswith(_SET):
                sets[symbol.offset] = symbol
            elif symbol.name.startswith(_FUNCTION):
                functions[symbol.offset] = symbol.name.removeprefix(_FUNCTION).rpartition("__")[0]
        return cls(there, sets, functions)

    def outside(self, sets: Iterable[KfuncSet]) -> Iterator[tuple[int, str]]:
        """Yield place and name of the functions in none of these sets: those of lists and of plain sets."""
        within = {
            place for one in sets for place in range(one.offset, one.offset + 8 * (len(one.kfuncs) + 1), 4)
        }
        yield from ((place, name) for place, name in self.functions.items() if place not in within)


def id_words(section: bytes, byte_order: str) -> list[int]:
    """Return the words of a ``.BTF_ids``."""
    return np.frombuffer(section[: len(section) // 4 * 4], f"{byte_order}u4").tolist()


def declared_sets(words: list[int], btf: Btf, symbols: Symbols) -> Iterator[KfuncSet]:
    """Yield all sets that symbols name, whatever is in them, by their places."""
    types = Types(btf)
    for offset, symbol in sorted(symbols.sets.items()):
        at = offset // 4
        if not offset % 4 and at >= 0 and at + 2 <= len(words):
            yield _declared(words, at, symbol, types, symbols)


def shaped_sets(words: list[int], btf: Btf, flags: int = KFUNCS) -> Iterator[KfuncSet]:
    """Yield the sets with these ``flags`` that can be told without symbols."""
    types = Types(btf)
    at = 0
    while at + 2 < len(words):
        found = words[at + 1] == flags and _has_shape(words, at, types)
        if found:
            yield KfuncSet(4 * at, "", flags, tuple(_entries(words, at, words[at], types)), words[at])
        at += 2 + 2 * words[at] if found else 1


def told_sets(words: list[int], btf: Btf, symbols: Symbols) -> Iterator[KfuncSet]:
    """Yield the sets that symbols name, or else those of kfuncs that flag and shape tell."""
    return declared_sets(words, btf, symbols) if symbols.there else shaped_sets(words, btf)


def _has_shape(words: list[int], at: int, types: Types) -> bool:
    count = words[at]
    end = at + 2 + 2 * count
    if not 1 <= count <= _MOST or end > len(words) or max(words[at + 3 : end : 2]) >= _KNOWN_FLAGS:
        return False
    ids = words[at + 2 : end : 2]
    known = [type_id for type_id in ids if type_id]
    # Ids that are all 0 tell nothing by themselves; sorted, those that are 0 come first.
    if not known or known != sorted(set(known)) or ids[len(ids) - len(known) :] != known:
        return False
    others = sum(types.kind(type_id) is not Kind.FUNC for type_id in known)
    return others == 0 or (others == 1 and len(known) >= _CERTAIN)


def _entries(words: list[int], at: int, count: int, types: Types) -> Iterator[Kfunc]:
    """Yield entries with the names that their ids have; one that is no function's has none."""
    for place in range(at + 2, at + 2 + 2 * count, 2):
        type_id, flags = words[place : place + 2]
        yield Kfunc(type_id, flags, types.own.name(type_id) if types.kind(type_id) is Kind.FUNC else "")


def _declared(words: list[int], at: int, symbol: PlacedSymbol, types: Types, symbols: Symbols) -> KfuncSet:
    count, flags = words[at], words[at + 1]
    behind = (len(words) - at - 2) // 2
    room = symbol.size // 8 - 1 if symbol.size >= 8 else count
    held = room if room <= behind else 0
    kfuncs = tuple(_entries(words, at, held, types))
    places = range(4 * at + 8, 4 * at + 8 + 8 * held, 8)
    declared = tuple(symbols.functions[place] for place in places if place in symbols.functions)
    return KfuncSet(4 * at, symbol.name.removeprefix(_SET), flags, _named(kfuncs, declared), count, declared)


def _named(kfuncs: tuple[Kfunc, ...], declared: tuple[str, ...]) -> tuple[Kfunc, ...]:
    """Give those that have none the names that are left when all others have theirs, if that is certain."""
    left = list((Counter(declared) - Counter(kfunc.name for kfunc in kfuncs if kfunc.name)).elements())
    nameless = sum(not kfunc.name for kfunc in kfuncs)
    if len(left) != nameless:
        return kfuncs
    names = iter(left)
    return tuple(kfunc if kfunc.name else Kfunc(kfunc.type_id, kfunc.flags, next(names)) for kfunc in kfuncs)
