# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where a module's functions are, and where ftrace finds them: what its symbol table and __mcount_loc say."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kbtf_ci.objfile.elf import ElfImage

_LOCATIONS: Final = "__mcount_loc"
_INIT: Final = ".init"


@dataclass(frozen=True)
class Place:
    """Where a function begins: its section, its address there, and its size in bytes."""

    section: int
    address: int
    size: int


@dataclass(frozen=True)
class Places:
    """The functions of one module by name, those that are gone after its init, and ftrace's locations.

    A function of several places is at the first, as the kernel finds it (kernel/module/kallsyms.c).
    """

    kept: Mapping[str, Place]
    init: frozenset[str]
    locations: Mapping[int, Sequence[int]]

    @classmethod
    def of(cls, image: ElfImage) -> Places:
        """Read a module's file."""
        kept: dict[str, Place] = {}
        init: set[str] = set()
        discarded = {index for index, name in image.section_names().items() if name.startswith(_INIT)}
        for symbol in image.functions():
            if symbol.section in discarded:
                init.add(symbol.name)
            else:
                kept.setdefault(symbol.name, Place(symbol.section, symbol.value, symbol.size))
        locations: dict[int, list[int]] = {}
        for section, address in image.relocated_addresses(_LOCATIONS):
            locations.setdefault(section, []).append(address)
        return cls(kept, frozenset(init), {section: sorted(found) for section, found in locations.items()})

    def has_location(self, place: Place) -> bool:
        """Return whether ftrace knows a place within the function (kernel/trace/, ftrace_location())."""
        known = self.locations.get(place.section, ())
        at = bisect_left(known, place.address)
        return at < len(known) and known[at] < place.address + max(place.size, 1)
