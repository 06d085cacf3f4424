# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a test needs to know of a vmlinux's BTF, read without kbtf_ci."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from tests.support import sketch as sk
from tests.support.sketch import kind_of, read


@dataclass(frozen=True)
class Named:
    """A named type: ``third`` is its size (FWD: 0), ``extra`` an INT's data or the kind_flag."""

    id: int
    kind: int
    name: bytes
    third: int
    extra: int


class Vmlinux:
    """The base: ``types`` slots with void, its ``strings``, and its types that a distilled base may name."""

    def __init__(self, btf: bytes) -> None:
        sketch = read(btf)
        self.types = sketch.end_id
        self.strings = bytes(sketch.strings)
        self._modifiers = [n for n, words in enumerate(sketch.records, 1) if kind_of(words) in sk.MODIFIERS]
        self.named: dict[int, list[Named]] = {
            kind: [] for kind in (sk.INT, sk.FLOAT, sk.ENUM, sk.ENUM64, sk.FWD, sk.STRUCT, sk.UNION)
        }
        for number, words in enumerate(sketch.records, 1):
            kind = kind_of(words)
            if words[0] and kind in self.named:
                extra = words[3] if kind == sk.INT else words[1] >> 31
                self.named[kind].append(Named(number, kind, self.string(words[0]), words[2], extra))
        counts = Counter(one.name for kind in self.named.values() for one in kind)
        self.unique = {
            kind: [one for one in found if counts[one.name] == 1] for kind, found in self.named.items()
        }
        self.doubled = [
            one for kind in (sk.STRUCT, sk.UNION, sk.FWD) for one in self.named[kind] if counts[one.name] > 1
        ]

    def string(self, offset: int) -> bytes:
        return self.strings[offset : self.strings.index(b"\0", offset)]

    def find(self, text: bytes) -> int:
        """Return the offset of a whole string."""
        return self.strings.index(b"\0" + text + b"\0") + 1

    def a_modifier(self, rng: random.Random) -> int:
        return rng.choice(self._modifiers)
