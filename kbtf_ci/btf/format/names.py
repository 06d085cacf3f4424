# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""String sections, and what the kernel asks of the names in them, for arrays of offsets at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_T = TypeVar("_T", bound=np.generic)

# lib/ctype.c: the kernel's tables are Latin-1's.
_UPPER_HALF: Final = frozenset(range(0xC0, 0x100)) - {0xD7, 0xF7}
_FIRST: Final = frozenset(range(0x41, 0x5B)) | frozenset(range(0x61, 0x7B)) | {0x5F, 0x2E} | _UPPER_HALF
_DIGITS: Final = frozenset(range(0x30, 0x3A))
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) | frozenset(range(0xA0, 0x100))


def _table(allowed: frozenset[int]) -> Bools:
    table = np.zeros(256, np.bool_)
    table[list(allowed)] = True
    return table


_IS_FIRST = _table(_FIRST)
_IS_IDENT = _table(_FIRST | _DIGITS)
_IS_PRINTABLE = _table(_PRINTABLE)


@dataclass(frozen=True)
class Strings:
    """One string section: NUL-terminated strings, back to back. It may be empty."""

    data: bytes

    def __len__(self) -> int:
        return len(self.data)

    def at(self, offset: int) -> bytes:
        """Return the string at ``offset``, which must be inside; the last string may lack its NUL."""
        end = self.data.find(b"\0", offset)
        return self.data[offset : end if end >= 0 else len(self.data)]

    @cached_property
    def codes(self) -> NDArray[np.uint8]:
        """The bytes, as numbers."""
        return np.frombuffer(self.data, np.uint8)

    @cached_property
    def ends(self) -> Ints:
        """Positions of all NUL bytes, and at last the section's length."""
        return self._where(self.codes == 0)

    def lengths(self, offsets: Ints) -> Ints:
        """Return the length of the string at each offset."""
        return _next(self.ends, offsets) - offsets

    def identifiers(self, offsets: Ints, limit: int) -> Bools:
        """Return where btf_name_valid_identifier() would accept the name (kernel/bpf/btf.c)."""
        return self._whole(offsets, self._not_identifier, limit) & _IS_FIRST[self.codes[offsets]]

    def section_names(self, offsets: Ints, limit: int) -> Bools:
        """Return where btf_name_valid_section() would accept the name (kernel/bpf/btf.c)."""
        return self._whole(offsets, self._not_printable, limit) & (self.codes[offsets] != 0)

    def starts(self, offsets: Ints) -> Bools:
        """Return which offsets are the first byte of a string, not one within."""
        return (offsets == 0) | (self.codes[offsets - 1] == 0)

    @cached_property
    def _not_identifier(self) -> Ints:
        return self._where(~_IS_IDENT[self.codes] & (self.codes != 0))

    @cached_property
    def _not_printable(self) -> Ints:
        return self._where(~_IS_PRINTABLE[self.codes] & (self.codes != 0))

    def _where(self, found: Bools) -> Ints:
        return np.append(np.flatnonzero(found), len(self.data))

    def _whole(self, offsets: Ints, bad: Ints, limit: int) -> Bools:
        ends = _next(self.ends, offsets)
        return (_next(bad, offsets) >= ends) & (ends - offsets <= limit)


def _next(positions: Ints, offsets: Ints) -> Ints:
    """Return the first of ``positions`` at or behind each offset; the last one is behind all."""
    found: Ints = positions[np.searchsorted(positions, offsets)]
    return found


@dataclass(frozen=True)
class Names:
    """The strings that a BTF sees: its base's below ``len(base)``, its own behind them."""

    base: Strings
    own: Strings

    @property
    def end(self) -> int:
        """The first offset behind all strings."""
        return len(self.base) + len(self.own)

    def at(self, offset: int) -> bytes:
        """Return the string at an offset below ``end``."""
        if offset < len(self.base):
            return self.base.at(offset)
        return self.own.at(offset - len(self.base))

    def lengths(self, offsets: Ints) -> Ints:
        """Return the length of the string at each offset; offsets from ``end`` on count as empty."""
        return self._each(offsets, Strings.lengths, np.zeros(offsets.shape, np.int64))

    def identifiers(self, offsets: Ints, limit: int) -> Bools:
        """Return which names are identifiers of at most ``limit`` bytes; none from ``end`` on is."""
        return self._each(offsets, lambda table, at: table.identifiers(at, limit), _nowhere(offsets))

    def section_names(self, offsets: Ints, limit: int) -> Bools:
        """Return which names may be those of a section; none from ``end`` on may."""
        return self._each(offsets, lambda table, at: table.section_names(at, limit), _nowhere(offsets))

    def starts(self, offsets: Ints) -> Bools:
        """Return which offsets are where a string starts; none from ``end`` on is."""
        return self._each(offsets, Strings.starts, _nowhere(offsets))

    def _each(
        self, offsets: Ints, question: Callable[[Strings, Ints], NDArray[_T]], answer: NDArray[_T]
    ) -> NDArray[_T]:
        in_base = offsets < len(self.base)
        in_own = ~in_base & (offsets < self.end)
        if in_base.any():
            answer[in_base] = question(self.base, offsets[in_base])
        if in_own.any():
            answer[in_own] = question(self.own, offsets[in_own] - len(self.base))
        return answer


def _nowhere(offsets: Ints) -> Bools:
    return np.zeros(offsets.shape, np.bool_)
