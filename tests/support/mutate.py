# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Seeded mutants of real modules' BTF, for holding the prediction against the kernel."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.support import distilled, sketch
from tests.support import sketch as sk
from tests.support.sketch import Sketch, kind_of, name_fields, read, type_fields
from tests.support.vmlinux import Vmlinux

_WORDS = (
    0, 1, 2, 3, 4, 7, 8, 16, 24, 31, 32, 33, 64, 127, 128, 129, 255, 256, 0xFFFF, 0x10000, 0xFFFFF, 0x100000,
    0xFFFFFF, 0x1000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF,
)  # fmt: skip
_HEADER_EDGES = {
    "magic": (0, 0x9FEB, 0xEB9E, 0xEA9F, 0xFFFF),
    "version": (0, 2, 255),
    "flags": (1, 0x80, 255),
    "hdr_len": (0, 1, 4, 7, 8, 12, 16, 20, 22, 23, 25, 28, 32, 40, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF),
}
_TEXTS = (
    b"", b"a", b"_", b".", b"..", b".a", b"a.b", b"9a", b"a9", b"a b", b" a", b"a-b", b"a$", b"vec<int>",
    b"a::b", b"\xc0", b"\xd6a", b"\xd7a", b"a\xd7", b"\xd8", b"\xf6", b"a\xf7", b"\xf8", b"a\xff", b"\x80",
    b"a\xbf", b"\xa0", b"a\x9f", b"\x7f", b"\x1f", b"a\n", b"a\nb", b"a\tb", b"a\\b", "größe".encode(), b"?",
    b"*", b".data..x", b"\xa0b", b"%s%n",
)  # fmt: skip
_LONG = (127, 128, 129, 511, 512, 513, 900, 1010, 1030, 5000)


@dataclass(frozen=True)
class Mutant:
    """One BTF to be loaded: ``source`` is the module it came from, ``text`` says what was done to it.

    ``btf`` None: the module has no ``.BTF`` section.
    """

    source: str
    text: str
    btf: bytes | None
    base: bytes | None = None

    def turned(self) -> Mutant:
        """Return what a big-endian machine has in its place, where it is not ``halved``."""
        btf, base = (data and sketch.turned(data) for data in (self.btf, self.base))
        return Mutant(self.source, self.text, btf, base)

    @property
    def halved(self) -> bool:
        """Whether its header ends within a word: each byte order has another half of it then."""
        btf = self.btf
        return btf is not None and 8 <= int.from_bytes(btf[4:8], "little") < 24 and btf[4] % 4 > 0


class Broken:
    """One mutant being made."""

    def __init__(self, rng: random.Random, sketch: Sketch, vmlinux: Vmlinux) -> None:
        self.rng, self.sketch, self.vmlinux = rng, sketch, vmlinux
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def record(self, *kinds: int) -> int:
        """Return the index of a record, of one of ``kinds`` where there is one."""
        of_kind = [n for n, words in enumerate(self.sketch.records) if kind_of(words) in kinds]
        return self.rng.choice(of_kind or range(len(self.sketch.records)))

    def put(self, index: int, word: int, value: int) -> None:
        record = self.sketch.records[index]
        value &= 0xFFFF_FFFF
        kind = kind_of(record)
        self.note(
            f"[{self.sketch.first_id + index}] kind {kind} word {word}: {record[word]:#x} -> {value:#x}"
        )
        record[word] = value

    def _within(self, start: int, end: int) -> int:
        return self.rng.randrange(start, max(end, start + 1))

    def a_type(self) -> int:
        """Return a type id, more or less odd."""
        sketch, choice = self.sketch, self.rng.choice
        return choice(
            (
                0, 1, sketch.first_id - 1, sketch.first_id, sketch.end_id - 1, sketch.end_id,
                sketch.end_id + 1, 0xFFFFF, 0x100000, 0xFFFFFFFF, 0x80000000,
                self.rng.randrange(sketch.end_id), self._within(sketch.first_id, sketch.end_id),
                self.rng.randrange(0x100000),
            )
        )  # fmt: skip

    def a_name(self) -> int:
        """Return a string offset, more or less odd; some are of new strings."""
        sketch, choice = self.sketch, self.rng.choice
        if self.rng.random() < 0.4:
            return self.new_name()
        return choice(
            (
                0, 1, sketch.str_base - 1, sketch.str_base, sketch.end_name - 2, sketch.end_name - 1,
                sketch.end_name, sketch.end_name + 1, 0xFFFFFF, 0x1000000, 0x7FFFFFFF, 0xFFFFFFFF,
                self.rng.randrange(sketch.end_name), self.rng.randrange(sketch.str_base),
                self._within(sketch.str_base, sketch.end_name),
            )
        )  # fmt: skip

    def new_name(self) -> int:
        text = self.rng.choice(_TEXTS)
        if self.rng.random() < 0.3:
            text = self.rng.choice((b"n", b".", b"\xe9", b" ")) * self.rng.choice(_LONG)
        elif self.rng.random() < 0.2:
            text = bytes(self.rng.randrange(1, 256) for _ in range(self.rng.randrange(1, 20)))
        self.note(f"new string {text[:40]!r} of {len(text)} bytes")
        return self.sketch.string(text)


def _any_word(it: Broken) -> None:
    index = it.record()
    word = it.rng.randrange(len(it.sketch.records[index]))
    old = it.sketch.records[index][word]
    it.put(index, word, it.rng.choice((*_WORDS, old + 1, old - 1, old ^ 1 << it.rng.randrange(32))))


def _name(it: Broken) -> None:
    index = it.record(it.rng.randrange(1, 20))
    it.put(index, it.rng.choice(list(name_fields(it.sketch.records[index]))), it.a_name())


def _type(it: Broken) -> None:
    with_types = [n for n, record in enumerate(it.sketch.records) if any(type_fields(record))]
    if not with_types:
        return _any_word(it)
    index = it.rng.choice(with_types)
    self_id = it.sketch.first_id + index
    value = it.rng.choice((it.a_type(), self_id, self_id + 1))
    return it.put(index, it.rng.choice(list(type_fields(it.sketch.records[index]))), value)


def _info(it: Broken) -> None:
    index = it.record(it.rng.randrange(1, 20))
    old = it.sketch.records[index][1]
    vlen = old & 0xFFFF
    it.put(
        index,
        1,
        it.rng.choice(
            (
                old ^ 1 << 31, old ^ 1 << it.rng.randrange(32),
                old & ~0xFFFF | it.rng.choice((0, 1, 2, 0xFFFF)),
                old & ~0xFFFF | (vlen + 1) & 0xFFFF, old & ~0xFFFF | max(vlen - 1, 0),
                old & ~(0x1F << 24) | it.rng.randrange(32) << 24,
                old & ~(0x1F << 24) | it.rng.randrange(20) << 24,
            )
        ),
    )  # fmt: skip


def _size(it: Broken) -> None:
    index = it.record(sk.INT, sk.STRUCT, sk.UNION, sk.ENUM, sk.FWD, sk.DATASEC, sk.FLOAT, sk.ENUM64)
    old = it.sketch.records[index][2]
    it.put(index, 2, it.rng.choice((*_WORDS, old + 1, old - 1, old // 2)))


def _int_data(it: Broken) -> None:
    sketch = it.sketch
    data = it.rng.choice((0, 1, 2, 3, 4, 5, 8, 15)) << 24 | it.rng.choice((0, 1, 64, 96, 127, 128, 255)) << 16
    data |= it.rng.choice((0, 1, 8, 31, 32, 33, 64, 65, 127, 128, 129, 255))
    data |= it.rng.choice((0, 0, 0, 0, 0x100, 0xFF00, 0x10000000, 0x80000000))
    size = it.rng.choice((0, 1, 2, 4, 8, 15, 16, 17, 0xFFFFFFFF))
    it.note(f"new INT size {size} data {data:#x}")
    sketch.add(sk.INT, it.rng.choice((0, it.a_name())), size, data)


def _member(it: Broken) -> None:
    index = it.record(sk.STRUCT, sk.UNION)
    record = it.sketch.records[index]
    if len(record) < 6:
        return _any_word(it)
    at = 3 + 3 * it.rng.randrange((len(record) - 3) // 3)
    size = record[2]
    offsets = (
        0, 1, size * 8 - 1, size * 8, size * 8 + 1, size * 8 + 8, record[at + 2] + 1, record[at + 2] - 1,
        0xFFFFFF, 0x1000000, 0xFF000000, 0x1000000 | size * 8, 0x80000000, 0xFFFFFFF8, 0xFFFFFFFF,
    )  # fmt: skip
    if it.rng.random() < 0.3:
        it.put(index, 1, record[1] ^ 1 << 31)
    return it.put(index, at + 2, it.rng.choice(offsets))


def _entry(it: Broken) -> None:
    """Append a type with entries or a tail, healthy or nearly so, of a kind that modules seldom have."""
    rng, sketch = it.rng, it.sketch
    odd = rng.random() < 0.6
    vlen = rng.choice((0, 1, 2, 3, 5))
    name = it.a_name() if odd else sketch.string("new")
    kind = rng.choice(
        (
            sk.ENUM,
            sk.ENUM64,
            sk.DATASEC,
            sk.VAR,
            sk.FLOAT,
            sk.DECL_TAG,
            sk.FWD,
            sk.ARRAY,
            sk.STRUCT,
            sk.UNION,
            sk.FUNC_PROTO,
            sk.FUNC,
        )
    )
    third, tail = _Content(it, vlen, odd=odd).of(kind)
    kflag = int(odd and rng.random() < 0.3)
    if kind in (sk.VAR, sk.FLOAT, sk.DECL_TAG, sk.FWD, sk.ARRAY):
        vlen = int(odd and rng.random() < 0.15)
    if kind == sk.FUNC:
        vlen = rng.choice((0, 1, 2, 3))
    it.note(f"new kind {kind} vlen {vlen} kflag {kflag} name {name:#x} third {third:#x} tail {tail[:9]}")
    sketch.add(kind, name, third, *tail, vlen=vlen, kflag=kflag)
    if odd and rng.random() < 0.15 and tail:
        it.note("its last words cut off")
        sketch.cut = rng.randrange(1, len(tail) + 1)


class _Content:
    """Words for a type of a kind, healthy, or with an odd one here and there."""

    def __init__(self, it: Broken, vlen: int, *, odd: bool) -> None:
        self.it, self.rng, self.vlen, self.odd = it, it.rng, vlen, odd

    def pick(self, healthy: int, *others: int) -> int:
        return self.rng.choice(others) if self.odd and self.rng.random() < 0.3 else healthy

    def type(self) -> int:
        return self.pick(1, self.it.a_type(), self.it.a_type())

    def name(self) -> int:
        healthy = self.it.sketch.string(f"entry{self.rng.randrange(1000)}")
        return self.pick(healthy, self.it.a_name(), self.it.a_name(), 0)

    def of(self, kind: int) -> tuple[int, list[int]]:
        """Return the third word and what follows."""
        entries: dict[int, Callable[[int], tuple[int, tuple[int, ...]]]] = {
            sk.ENUM: lambda n: (4, (self.name(), n)),
            sk.ENUM64: lambda n: (4, (self.name(), n, 0)),
            sk.STRUCT: lambda n: (4 * self.vlen, (self.name(), self.type(), self.bits(32 * n))),
            sk.UNION: lambda n: (4 * self.vlen, (self.name(), self.type(), self.bits(0))),
            sk.FUNC_PROTO: lambda n: (0, (self.name(), self.type())),
            sk.DATASEC: lambda n: (8 * self.vlen, self.variable(8 * n)),
        }
        if kind in entries:
            made = [entries[kind](n) for n in range(self.vlen)]
            size = made[0][0] if made else 4
            others = (0, 1, 2, 3, 8, 16, size - 1, size + 1, 0xFFFFFFFF)
            return self.pick(size, *others) & 0xFFFF_FFFF, [word for _, words in made for word in words]
        return self.fixed(kind)

    def fixed(self, kind: int) -> tuple[int, list[int]]:
        pick = self.pick
        made: dict[int, Callable[[], tuple[int, list[int]]]] = {
            sk.ARRAY: lambda: (pick(0, 1, 0xFFFFFFFF), [self.type(), self.type(), pick(3, 0, 0xFFFFFFFF)]),
            sk.VAR: lambda: (self.type(), [pick(1, 0, 2, 3, 0xFFFFFFFF)]),
            sk.DECL_TAG: lambda: (
                self.type(), [pick(0xFFFFFFFF, 0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE)]
            ),
            sk.FLOAT: lambda: (pick(8, 0, 1, 2, 3, 4, 5, 10, 12, 16, 17, 32), []),
            sk.FWD: lambda: (pick(0, 1, 0xFFFFFFFF), []),
        }  # fmt: skip
        return made[kind]() if kind in made else (self.type(), [])

    def bits(self, healthy: int) -> int:
        return self.pick(healthy, 1, 8, 9, max(healthy - 1, 0))

    def variable(self, at: int) -> tuple[int, ...]:
        end = 8 * self.vlen
        offset = self.pick(at, max(at - 1, 0), at + 1, end, end - 1, 0xFFFFFFFF)
        return self.type(), offset, self.pick(8, 0, 9, end, end + 1, 0xFFFFFFFF, 0x80000000)


def _chain(it: Broken) -> None:
    """Append a chain of modifiers, upwards or downwards, with odd ends."""
    rng, sketch = it.rng, it.sketch
    length = rng.choice((1, 2, 30, 31, 32, 33, 34, 40, 64, 65))
    end = rng.choice((0, 1, it.a_type(), it.vmlinux.a_modifier(rng), sketch.first_id))
    kinds = rng.choice(
        ((sk.CONST, sk.VOLATILE), (sk.TYPEDEF,), (sk.TYPE_TAG,), (sk.TYPE_TAG, sk.CONST), sk.MODIFIERS)
    )
    upwards = rng.random() < 0.5
    first = sketch.end_id
    name = sketch.string("link")
    tags = rng.choice((0, 0, 1, length // 2, length))
    it.note(f"chain of {length} of kinds {kinds}, {'up' if upwards else 'down'}, {tags} tags first, to {end}")
    for n in range(length):
        last = n == (length - 1 if upwards else 0)
        target = end if last else first + n + (1 if upwards else -1)
        depth = n if upwards else length - 1 - n  # 0: where the chain starts
        kind = sk.TYPE_TAG if depth < tags else rng.choice(kinds)
        sketch.add(kind, name if kind in (sk.TYPEDEF, sk.TYPE_TAG) else 0, target)
    if rng.random() < 0.3:
        index = rng.randrange(len(sketch.records) - length, len(sketch.records))
        it.put(index, 2, rng.choice((first, sketch.end_id - 1, sketch.end_id, first + rng.randrange(length))))


def _modifier(it: Broken) -> None:
    """Point a modifier of the module's own at another."""
    index = it.record(*sk.MODIFIERS)
    if kind_of(it.sketch.records[index]) not in sk.MODIFIERS:
        return _chain(it)
    target = it.record(*sk.MODIFIERS) + it.sketch.first_id
    return it.put(index, 2, it.rng.choice((target, it.vmlinux.a_modifier(it.rng), it.sketch.end_id)))


def _records(it: Broken) -> None:
    records, rng = it.sketch.records, it.rng
    one, two = rng.randrange(len(records)), rng.randrange(len(records))
    what = rng.choice(("drop", "double", "swap", "move", "cut", "lengthen"))
    it.note(f"{what} record {one} {two}")
    if what == "drop":
        del records[one]
    elif what == "double":
        records.insert(two, list(records[one]))
    elif what == "swap":
        records[one], records[two] = records[two], records[one]
    elif what == "move":
        records.insert(two, records.pop(one))
    elif what == "cut":
        it.sketch.cut = rng.randrange(1, len(records[-1]) + 1)
    else:
        records[one] += [rng.choice(_WORDS) for _ in range(rng.randrange(1, 4))]


def _shift(it: Broken) -> None:
    """What the module would be over a base with more or fewer types and strings."""
    rng, sketch = it.rng, it.sketch
    types = rng.choice((0, 1, -1, 2, -2, 50, -50, rng.randrange(-3000, 3000)))
    names = rng.choice((0, 1, -1, 20, -500, 500, rng.randrange(-40000, 40000)))
    if not types and not names:
        types = 1
    it.note(f"over a base with {types} types and {names} string bytes more")
    for record in sketch.records:
        for at in type_fields(record):
            if record[at] >= sketch.first_id:
                record[at] = max(0, record[at] + types) & 0xFFFF_FFFF
        for at in name_fields(record):
            if record[at] >= sketch.str_base:
                record[at] = max(0, record[at] + names) & 0xFFFF_FFFF


def _string_bytes(it: Broken) -> None:
    rng, strings = it.rng, it.sketch.strings
    if not strings:
        return _name(it)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.choice((0, len(strings) - 1, rng.randrange(len(strings))))
        value = rng.choice((0, 1, 0x20, 0x2E, 0x41, 0x80, 0xC0, 0xD7, 0xFF, rng.randrange(256)))
        it.note(f"string byte {at}: {strings[at]:#x} -> {value:#x}")
        strings[at] = value
    return None


def _strings(it: Broken) -> None:
    sketch, rng = it.sketch, it.rng
    what = rng.choice(("none", "cut", "no NUL", "first", "longer"))
    it.note(f"strings: {what}")
    if what == "none":
        sketch.strings.clear()
    elif what == "cut":
        del sketch.strings[rng.randrange(len(sketch.strings) + 1) :]
    elif what == "no NUL":
        sketch.strings += b"x"
    elif what == "first":
        sketch.strings_first = True
    else:
        sketch.strings += bytes(rng.choice((1, 100, 70000)))


def _header(it: Broken) -> None:
    sketch, rng = it.sketch, it.rng
    for _ in range(rng.choice((1, 1, 1, 2))):
        key = rng.choice(sk.HEADER)
        types, strings = len(sketch.types()), len(sketch.strings)
        whole = types + strings
        ranges = (
            0, 1, 4, types - 1, types, types + 1, types + 4, strings - 1, strings, strings + 1, whole - 1,
            whole, whole + 1, whole + 24, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFE, 0xFFFFFFFF,
            0xFFFFFFFF - types, 0x100000000 - strings, 0x100000000 - types,
        )  # fmt: skip
        value = rng.choice(_HEADER_EDGES.get(key, ranges)) & 0xFFFF_FFFF
        it.note(f"header {key}: {value:#x}")
        sketch.header[key] = value


def _long_header(it: Broken) -> None:
    rng = it.rng
    size = rng.choice((1, 4, 8, 100, 4096))
    more = bytearray(size)
    if rng.random() < 0.5:
        more[rng.choice((0, size - 1, rng.randrange(size)))] = rng.randrange(1, 256)
    it.note(f"header of {24 + size} bytes, {sum(more)} in them")
    it.sketch.more_header = bytes(more)
    if rng.random() < 0.2:
        _header(it)


def _sections(it: Broken) -> None:
    """Header fields that belong together: sections with a gap, overlapping, in the other order, empty."""
    sketch, rng = it.sketch, it.rng
    types, strings = len(sketch.types()), len(sketch.strings)
    gap = rng.choice((1, 4, -1, -4, types, -types))
    what = rng.choice(("gap", "empty types", "empty strings", "all empty", "huge", "same"))
    it.note(f"sections: {what} {gap}")
    sketch.header = {
        "gap": {"str_off": types + gap & 0xFFFF_FFFF, "str_len": strings - gap & 0xFFFF_FFFF},
        "empty types": {"type_len": 0, "str_off": 0, "str_len": types + strings},
        "empty strings": {"type_len": types, "str_off": types + strings, "str_len": 0},
        "all empty": {"type_len": 0, "str_off": 0, "str_len": 0},
        "huge": {"type_off": rng.choice(_WORDS), "str_off": rng.choice(_WORDS)},
        "same": {"type_off": types, "str_off": types},
    }[what]


_STRUCTURED: Mapping[Callable[[Broken], None], int] = {
    _any_word: 4, _name: 8, _type: 7, _info: 6, _size: 4, _int_data: 3, _member: 6, _entry: 14, _chain: 8,
    _modifier: 4, _records: 4, _shift: 5, _string_bytes: 4, _strings: 2, _header: 5, _long_header: 2,
    _sections: 3,
}  # fmt: skip


def _raw(rng: random.Random, btf: bytes) -> tuple[bytes, str]:
    """Mutate bytes with no regard to what they mean."""
    what = rng.choice(("cut", "cut", "append", "bits", "bytes", "zeros", "tiny", "swap"))
    at = rng.randrange(len(btf))
    if what == "cut":
        at = rng.choice((at, rng.randrange(1, 40), len(btf) - 1))
        return btf[:at], f"cut to {at} bytes"
    if what == "append":
        more = rng.choice((b"\0", b"\0\0\0\0", b"x", bytes(4096), btf))
        return btf + more, f"{len(more)} bytes appended"
    if what == "tiny":
        size = rng.choice((1, 2, 4, 7, 8, 9, 23, 24, 25, 32))
        data = rng.choice(
            (bytes(size), btf[:size], struct.pack("<HBBI", 0xEB9F, 1, 0, size).ljust(size, b"\0")[:size])
        )
        return data, f"only {data.hex()}"
    if what == "swap":
        words = btf[: len(btf) // 4 * 4]
        return struct.pack(
            f">{len(words) // 4}I", *struct.unpack(f"<{len(words) // 4}I", words)
        ), "bytes swapped"
    changed = bytearray(btf)
    if what == "zeros":
        changed[at : at + 16] = bytes(min(16, len(btf) - at))
        return bytes(changed), f"zeros at {at}"
    spots = [rng.randrange(len(btf)) for _ in range(rng.choice((1, 1, 1, 3)))]
    for spot in spots:
        changed[spot] = changed[spot] ^ 1 << rng.randrange(8) if what == "bits" else rng.randrange(256)
    return bytes(changed), f"{what} at {spots}"


def mutants(seed: int, count: int, modules: Mapping[str, bytes], vmlinux: Vmlinux) -> Iterator[Mutant]:
    """Yield ``count`` mutants of ``modules`` (name to .BTF); ``seed`` and its number alone make a mutant."""
    sketches = {name: read(btf, vmlinux.types, len(vmlinux.strings)) for name, btf in sorted(modules.items())}
    for number in range(count):
        yield mutant(random.Random(f"{seed}/{number}"), sketches, vmlinux)


def mutant(rng: random.Random, sketches: Mapping[str, Sketch], vmlinux: Vmlinux) -> Mutant:
    """Return one mutant of one of ``sketches``."""
    if rng.random() < 0.12:
        text, btf, base = distilled.mutant(rng, vmlinux)
        return Mutant("", text, btf, base)
    name = rng.choice(list(sketches))
    if rng.random() < 0.12:
        btf, text = _raw(rng, sketches[name].bytes())
        return Mutant(name, text, btf)
    it = Broken(rng, sketches[name].copy(), vmlinux)
    ways: Sequence[Callable[[Broken], None]] = list(_STRUCTURED)
    for way in rng.choices(ways, list(_STRUCTURED.values()), k=rng.choice((1, 1, 1, 2, 3))):
        if not it.sketch.records:
            it.sketch.add(sk.PTR)
        way(it)
    return Mutant(name, "; ".join(it.notes), it.sketch.bytes())
