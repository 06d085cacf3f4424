# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The type section as columns: one array entry a record, no Python object a type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import accumulate
from typing import Final

import numpy as np

from kbtf_ci.btf.format.names import Bools, Ints
from kbtf_ci.btf.format.wire import ENTRY_BYTES, FIXED_BYTES, RECORD_BYTES, Kind
from kbtf_ci.model.architecture import ByteOrder

# Of kinds by number: bytes behind a record's three words, and bytes of each entry.
KindSizes = Mapping[int, tuple[int, int]]
_NO_INDICES: Final = np.empty(0, np.int64)


@dataclass(frozen=True)
class InfoLayout:
    """How ``info`` is divided: since 7.2 vlen has 24 bits and kind 7 (commit f7a6b9eaff3e)."""

    vlen_bits: int
    kind_bits: int

    @property
    def vlen_mask(self) -> int:
        """Mask of vlen, the lowest bits."""
        return (1 << self.vlen_bits) - 1

    @property
    def kind_mask(self) -> int:
        """Mask of kind once shifted down by 24 bits; kind_flag is bit 31."""
        return (1 << self.kind_bits) - 1

    @property
    def unused(self) -> int:
        """Bits that must be 0."""
        return 0x7FFF_FFFF & ~(self.vlen_mask | self.kind_mask << 24)


CLASSIC: Final = InfoLayout(vlen_bits=16, kind_bits=5)
WIDE: Final = InfoLayout(vlen_bits=24, kind_bits=7)


class End(Enum):
    """How the walk over a type section ended."""

    WHOLE = "whole"
    HEAD = "head"  # fewer bytes left than a record's three words
    KIND = "kind"  # the last record is of no known kind
    TAIL = "tail"  # the last record needs more bytes than are left


@dataclass(frozen=True)
class Records:
    """The records of one type section, in order.

    ``words`` is the section as 32-bit words in int64, bytes beyond the last whole word left out; ``at``
    the index of each record's first word; ``size`` the section's length in bytes. With ``end`` KIND or
    TAIL the last record is not complete.
    """

    words: Ints
    at: Ints
    size: int
    end: End
    layout: InfoLayout

    def __len__(self) -> int:
        return len(self.at)

    @property
    def complete(self) -> int:
        """How many records, from the first, lie whole in the section."""
        return len(self.at) - (self.end in (End.KIND, End.TAIL))

    @cached_property
    def name_off(self) -> Ints:
        """First word of each record."""
        return self.words[self.at]

    @cached_property
    def info(self) -> Ints:
        """Second word."""
        return self.words[self.at + 1]

    @cached_property
    def value(self) -> Ints:
        """Third word: a size or a type id, by kind."""
        return self.words[self.at + 2]

    @cached_property
    def kind(self) -> Ints:
        """Numbers of ``Kind``, or others where the section is broken."""
        return self.info >> 24 & self.layout.kind_mask

    @cached_property
    def vlen(self) -> Ints:
        """Number of entries, for the kinds that have some."""
        return self.info & self.layout.vlen_mask

    @cached_property
    def kflag(self) -> Bools:
        """kind_flag."""
        return self.info >> 31 != 0

    def of(self, *kinds: Kind) -> Ints:
        """Return the indices of the complete records of these kinds, ascending."""
        found = [self._by_kind[kind] for kind in kinds if kind in self._by_kind]
        if len(found) > 1:
            # Runs that are sorted already, which the stable sort only merges.
            return np.sort(np.concatenate(found), kind="stable")
        return found[0] if found else _NO_INDICES

    @cached_property
    def _by_kind(self) -> dict[int, Ints]:
        """The indices of the complete records of each kind that is there, ascending."""
        kind = self.kind[: self.complete].astype(np.uint8)
        order = np.argsort(kind, kind="stable")
        counts = np.bincount(kind).tolist()
        ends = accumulate(counts)
        pairs = enumerate(zip(counts, ends, strict=True))
        return {number: order[end - count : end] for number, (count, end) in pairs if count}

    def entries(self, index: Ints, words: int) -> tuple[Ints, Ints]:
        """Return, for every entry of ``words`` words of the records ``index``, its owner and its place.

        Both arrays have one element an entry, in order: the position within ``index``, and the index of
        its first word.
        """
        if not len(index):
            return _NO_INDICES, _NO_INDICES
        counts = self.vlen[index]
        owner = np.repeat(np.arange(len(index)), counts)
        first = np.cumsum(counts) - counts
        position = np.arange(len(owner)) - first[owner]
        return owner, self.at[index][owner] + RECORD_BYTES // 4 + words * position

    def left(self, index: int) -> int:
        """Return how many bytes of the section follow the three words of a record."""
        return self.size - 4 * int(self.at[index]) - RECORD_BYTES


def needed(kind: int, vlen: int) -> int:
    """Return how many bytes follow a record's three words."""
    return _FIXED[kind] + _EACH[kind] * vlen


_SLOTS: Final = WIDE.kind_mask + 1
_FIXED: Final = [FIXED_BYTES.get(kind, 0) for kind in range(_SLOTS)]  # type: ignore[call-overload]
_EACH: Final = [ENTRY_BYTES.get(kind, 0) for kind in range(_SLOTS)]  # type: ignore[call-overload]


def walk(
    section: bytes,
    order: ByteOrder,
    layout: InfoLayout = WIDE,
    last_kind: int = max(Kind),
    newer: KindSizes | None = None,
) -> Records:
    """Divide a type section into records, as btf_check_all_metas() does (kernel/bpf/btf.c).

    ``newer`` has the sizes of kinds beyond ``last_kind`` that are stepped over. Never fails: where the
    section is broken the walk ends, and ``Records.end`` says how.
    """
    whole = len(section) // 4 * 4
    # Turned once, where that is to be done: what follows reads this machine's own words.
    words = np.frombuffer(section[:whole], f"{order}u4").astype("=u4", copy=False)
    sizes = {kind: _in_words(size) for kind, size in (newer or {}).items() if kind > last_kind}
    known = {kind: size for kind, size in sizes.items() if size is not None}
    at, end = _steps(words.tolist(), len(section), layout, last_kind, known)
    return Records(words.astype(np.int64), np.array(at, np.int64), len(section), end, layout)


def _in_words(size: tuple[int, int]) -> tuple[int, int] | None:
    """Return sizes in words; None where they are none, as every record starts at one."""
    fixed, each = size
    return None if fixed % 4 or each % 4 else (fixed // 4, each // 4)


def _steps(
    words: list[int], size: int, layout: InfoLayout, last_kind: int, newer: KindSizes
) -> tuple[list[int], End]:
    at: list[int] = []
    position = 0
    kind_mask, vlen_mask = layout.kind_mask, layout.vlen_mask
    fixed, each = [n // 4 for n in _FIXED], [n // 4 for n in _EACH]
    # One turn a type, a hundred thousand in a vmlinux: only what a turn needs.
    while 4 * position < size:
        if 4 * position + RECORD_BYTES > size:
            return at, End.HEAD
        info = words[position + 1]
        kind = info >> 24 & kind_mask
        at.append(position)
        if kind == 0 or kind > last_kind:
            if kind not in newer:
                return at, End.KIND
            more = newer[kind]
            position += 3 + more[0] + more[1] * (info & vlen_mask)
            continue
        position += 3 + fixed[kind] + each[kind] * (info & vlen_mask)
    return at, End.WHOLE if 4 * position == size else End.TAIL
