# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules with a distilled base (``.BTF.base``), as pahole writes them out of tree, and mutants of such.

The kernel follows the type ids of split members unchecked (tools/lib/bpf/btf_relocate.c,
btf_mark_embedded_composite_type_ids()): every id here is in range, and none leads in a circle.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support import sketch as sk
from tests.support.sketch import Sketch
from tests.support.vmlinux import Named, Vmlinux


@dataclass
class Pair:
    """A distilled base and the split BTF over it."""

    base: Sketch
    split: Sketch = field(init=False)

    def __post_init__(self) -> None:
        self.split = over(self.base)

    def bytes(self) -> tuple[bytes, bytes]:
        """Return .BTF and .BTF.base."""
        return self.split.bytes(), self.base.bytes()


def empty_base() -> Sketch:
    return Sketch(strings=bytearray(b"\0"))


def over(base: Sketch) -> Sketch:
    """Return an empty split BTF over ``base``; without any type there is not even void (btf_add_type())."""
    return Sketch(base.end_id if base.records else 0, len(base.strings))


def add_named(base: Sketch, one: Named) -> int:
    """Add a vmlinux type as pahole distils it: no members, ENUM64 as an ENUM of its size."""
    name = base.string(one.name)
    if one.kind == sk.INT:
        return base.add(sk.INT, name, one.third, one.extra)
    kind = sk.ENUM if one.kind == sk.ENUM64 else one.kind
    return base.add(kind, name, one.third, kflag=one.extra if kind == sk.FWD else 0)


def mutant(rng: random.Random, vmlinux: Vmlinux) -> tuple[str, bytes, bytes]:
    """Return what was done, ``.BTF`` and ``.BTF.base``."""
    notes: list[str] = []
    base = empty_base()
    for _ in range(rng.choice((0, 1, 2, 3, 8, 20))):
        _add_type(rng, vmlinux, base, notes)
    pair = Pair(base)
    for _ in range(rng.choice((0, 1, 3, 10, 30))):
        _add_split(rng, pair, notes)
    btf, raw_base = pair.bytes()
    if rng.random() < 0.12:
        raw_base = _spoilt(rng, raw_base, notes)
    text = f"distilled base of {len(base.records)} types, {len(pair.split.records)} over it: " + "; ".join(
        notes
    )
    return text, btf, raw_base


def _add_type(rng: random.Random, vmlinux: Vmlinux, base: Sketch, notes: list[str]) -> None:
    kinds = [kind for kind, found in vmlinux.unique.items() if found]
    one = rng.choice(vmlinux.unique[rng.choice(kinds)])
    way = rng.random()
    if way < 0.88:
        add_named(base, one)
    elif way < 0.91:
        twin = rng.choice(vmlinux.doubled)
        notes.append(f"{twin.name!r}, of which vmlinux has two")
        add_named(base, twin)
    elif way < 0.94:
        size = rng.choice((0, 1, one.third + 1, one.third * 2, 0x80000000 | one.third))
        notes.append(f"{one.name!r} with size {size}")
        kind = sk.STRUCT if one.kind == sk.UNION else sk.UNION if one.kind == sk.STRUCT else one.kind
        add_named(base, Named(0, rng.choice((one.kind, kind)), one.name, size, one.extra))
    elif way < 0.96:
        kind = rng.choice((sk.INT, sk.FLOAT, sk.ENUM, sk.STRUCT, sk.UNION, sk.FWD))
        notes.append(f"{one.name!r}, kind {one.kind}, as kind {kind}")
        add_named(base, Named(0, kind, one.name, 0 if kind == sk.FWD else one.third, rng.randrange(2)))
    elif way < 0.98:
        notes.append("a name that is nowhere")
        add_named(base, Named(0, one.kind, b"no_such_type_at_all", one.third, one.extra))
    else:
        _add_odd(rng, base, notes)


def _add_odd(rng: random.Random, base: Sketch, notes: list[str]) -> None:
    kind = rng.choice(
        (
            sk.STRUCT,
            sk.ENUM,
            sk.FLOAT,
            sk.PTR,
            sk.TYPEDEF,
            sk.CONST,
            sk.ENUM64,
            sk.FUNC_PROTO,
            sk.ARRAY,
            sk.TYPE_TAG,
        )
    )
    notes.append(f"odd kind {kind} in the base")
    name = base.string("odd") if kind in (sk.TYPEDEF, sk.TYPE_TAG) else 0
    third = 8 if kind in (sk.STRUCT, sk.ENUM, sk.FLOAT, sk.ENUM64) else 0
    base.add(kind, name, third, *((1, 1, 1) if kind == sk.ARRAY else ()))


def _add_split(rng: random.Random, pair: Pair, notes: list[str]) -> None:
    """Add one type to the split BTF; references lead to lower ids alone."""
    one = _Draw(rng, pair, notes)
    kind = rng.choice((*_POINTERS, *_NAMED_REFERENCES, *_HOLDERS, sk.FUNC_PROTO, sk.FWD, sk.ENUM, sk.INT))
    if one.end <= 1 and kind in _HOLDERS:
        kind = sk.FWD
    third, tail, vlen = one.content(kind)
    name = 0 if kind in (*_POINTERS, sk.ARRAY, sk.FUNC_PROTO) else one.name()
    pair.split.add(kind, name, third, *tail, vlen=vlen)


_POINTERS = (sk.PTR, sk.CONST, sk.VOLATILE)
_NAMED_REFERENCES = (sk.TYPEDEF, sk.FUNC)
_HOLDERS = (sk.ARRAY, sk.STRUCT, sk.UNION)


class _Draw:
    """Words for one split type."""

    def __init__(self, rng: random.Random, pair: Pair, notes: list[str]) -> None:
        self.rng, self.pair, self.notes = rng, pair, notes
        self.end = max(pair.split.end_id, 1)

    def type(self, lowest: int = 0) -> int:
        return self.rng.randrange(lowest, max(self.end, lowest + 1))

    def name(self) -> int:
        if self.rng.random() < 0.02:
            self.notes.append("a name of the base's")
            return self.rng.randrange(len(self.pair.base.strings))
        split = self.pair.split
        return split.string(f"split{len(split.strings)}")

    def content(self, kind: int) -> tuple[int, list[int], int]:
        """Return the third word, what follows, and vlen."""
        if kind in (sk.STRUCT, sk.UNION):
            vlen = self.rng.randrange(4)
            tail = [(self.name(), self.type(1), 0 if kind == sk.UNION else 64 * n) for n in range(vlen)]
            return 8 * vlen, [word for member in tail for word in member], vlen
        if kind == sk.FUNC_PROTO:
            vlen = self.rng.randrange(3)
            return self.type(), [word for _ in range(vlen) for word in (self.name(), self.type())], vlen
        fixed: dict[int, Callable[[], tuple[int, list[int], int]]] = {
            sk.ARRAY: lambda: (0, [self.type(1), self.type(1), 4], 0),
            sk.ENUM: lambda: (4, [self.name(), 7], 1),
            sk.INT: lambda: (4, [32], 0),
            sk.FWD: lambda: (0, [], 0),
        }
        return fixed[kind]() if kind in fixed else (self.type(), [], 0)


def _spoilt(rng: random.Random, base: bytes, notes: list[str]) -> bytes:
    at = rng.randrange(len(base))
    way = rng.choice(("cut", "append", "header", "empty", "string", "no types"))
    notes.append(f"base: {way} {at}")
    if way == "cut":
        return base[:at]
    if way == "append":
        return base + b"\0"
    if way == "empty":
        return b""
    if way == "no types":
        return Sketch(strings=bytearray(rng.choice((b"\0", b"\0a\0", b"a\0", b"")))).bytes()
    at = rng.randrange(24) if way == "header" else len(base) - 1 - rng.randrange(2)
    return base[:at] + bytes([base[at] ^ rng.choice((1, 0x41, 0x80))]) + base[at + 1 :]
