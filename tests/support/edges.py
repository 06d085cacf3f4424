# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Hand-made BTF on both sides of every limit that the kernel knows (kernel/bpf/btf.c, Linux 6.12).

Errno and words were written down from the kernel's source and not taken from kbtf_ci.
"""
# ruff: noqa: B023 -- whatever is drawn is drawn at once, within its turn of a loop

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.support import sketch as sk
from tests.support.distilled import Pair, add_named, empty_base
from tests.support.mutate import Mutant
from tests.support.sketch import Sketch
from tests.support.vmlinux import Named, Vmlinux

EINVAL, E2BIG, ELOOP, ENOTSUPP, ENOENT = 22, 7, 40, 524, 2
_DANGLING = ""  # refused without a word

Draw = Callable[[Sketch], object]


@dataclass(frozen=True)
class Edge:
    """One BTF, and what the kernel does with it: ``rule`` decides, "" accepts; ``words`` are in its log."""

    rule: str
    note: str
    mutant: Mutant
    errno: int = 0
    words: str = ""

    def agrees(self, errno: int, log: Sequence[str]) -> bool:
        """Whether a load that returned ``errno`` and left ``log`` is the one that was written down."""
        told = bool(log) == bool(self.errno) and any(self.words in line for line in log or [self.words])
        return errno == self.errno and told


# Checks that no BTF of a module reaches on a healthy Linux 6.12, and why.
OUT_OF_REACH = {
    "vmlinux.missing": "the kernel's own vmlinux is healthy",
    "enum.kflag": "Linux 6.0 and later take a signed ENUM",
    "enum64.kflag": "as enum.kflag",
    "relocate.empty_name": "no type of a healthy vmlinux has a name that is empty but not at offset 0",
}


class _Table:
    """Collects edges over one vmlinux."""

    def __init__(self, vmlinux: Vmlinux) -> None:
        self.vmlinux = vmlinux
        self.edges: list[Edge] = []

    def sketch(self) -> Sketch:
        return Sketch(self.vmlinux.types, len(self.vmlinux.strings))

    def good(self, note: str, draw: Draw) -> None:
        sketch = self.sketch()
        draw(sketch)
        self.bytes("", note, sketch.bytes())

    def bad(self, rule: str, note: str, draw: Draw, words: str, errno: int = EINVAL) -> None:
        sketch = self.sketch()
        draw(sketch)
        self.bytes(rule, note, sketch.bytes(), words, errno)

    def bytes(
        self,
        rule: str,
        note: str,
        btf: bytes | None,
        words: str = "",
        errno: int = EINVAL,
        base: bytes | None = None,
    ) -> None:
        mutant = Mutant("", f"edge {rule or 'accepted'}: {note}", btf, base)
        self.edges.append(Edge(rule, note, mutant, errno if rule else 0, words))


def edges(vmlinux: Vmlinux) -> list[Edge]:
    """Return all hand-made BTF for modules of this kernel."""
    table = _Table(vmlinux)
    for add in (
        _headers, _sections, _strings, _records, _ints, _references, _names, _offsets, _arrays, _members,
        _enums, _forwards, _functions, _variables, _datasecs, _floats, _decl_tags, _chains, _bases,
        _relocations, _mapped_strings,
    ):  # fmt: skip
        add(table)
    return table.edges


def _healthy(s: Sketch) -> int:
    return s.add(sk.STRUCT, s.string("healthy"), 8)


def _with_header(**fields: int) -> Draw:
    def draw(s: Sketch) -> None:
        _healthy(s)
        s.header = fields

    return draw


def _with(**attributes: bytes | bool) -> Draw:
    """A healthy type, and these attributes of the sketch."""

    def draw(s: Sketch) -> None:
        _healthy(s)
        for name, value in attributes.items():
            setattr(s, name, value)

    return draw


def _append(s: Sketch, data: bytes) -> int:
    """Append bytes to the strings, NUL or not, and return where they start."""
    start = s.end_name
    s.strings += data
    return start


def _headers(t: _Table) -> None:
    t.bytes("", "an empty section is none", b"")
    t.bytes("", "no section", None)
    t.bytes("header.length", "7 bytes", bytes(7), "hdr_len not found")
    t.bytes(
        "header.whole",
        "8 bytes with hdr_len 9",
        struct.pack("<HBBI", 0xEB9F, 1, 0, 9),
        "btf_header not found",
    )
    t.bytes("header.magic", "8 bytes with hdr_len 0", bytes(8), "Invalid magic")
    t.bytes(
        "header.magic", "hdr_len 8 is long enough", struct.pack("<HBBI", 0xEB9E, 1, 0, 8), "Invalid magic"
    )
    t.bytes("", "a header of 8 bytes and nothing behind it", struct.pack("<HBBI", 0xEB9F, 1, 0, 8))
    t.bytes("", "a header and nothing behind it", Sketch().bytes())
    t.bad(
        "header.whole",
        "hdr_len one beyond the end",
        _with_header(hdr_len=24 + 12 + 8 + 1),
        "btf_header not found",
    )
    for size in (1, 8, 4096):
        t.good(f"{size} zero bytes more", _with(more_header=bytes(size)))
        t.bad("header.unknown", f"{size} bytes more, the last is 1",
              _with(more_header=bytes(size - 1) + b"\1"),
              "Unsupported btf_header", E2BIG)  # fmt: skip
    for magic in (0x9FEB, 0xEB9E, 0):
        t.bad("header.magic", f"{magic:#x}", _with_header(magic=magic), "Invalid magic")
    for version in (0, 2):
        t.bad("header.version", f"{version}", _with_header(version=version), "Unsupported version", ENOTSUPP)
    t.bad("header.flags", "1", _with_header(flags=1), "Unsupported flags", ENOTSUPP)


def _sections(t: _Table) -> None:
    # 12 bytes of types, 8 of strings
    t.good("strings of length 0 and types", lambda s: s.add(sk.PTR))
    t.good("types of length 0 and strings", lambda s: s.string("alone"))
    t.bad("sections.offset", "behind the end", _with_header(str_off=21), "Invalid section offset")
    t.bad("sections.length", "at the end", _with_header(type_off=0, type_len=20, str_off=20, str_len=1),
          "Total section length too long")  # fmt: skip
    # btf_sec_info_cmp(): the difference to the other's 12 is an int.
    t.bad("sections.gap", "types at 2^31 + 11 are sorted behind", _with_header(type_off=0x8000000B),
          "Unsupported section found")  # fmt: skip
    t.bad("sections.offset", "types at 2^31 + 12 are sorted first", _with_header(type_off=0x8000000C),
          "Invalid section offset")  # fmt: skip
    t.bad("sections.gap", "one byte before the types", _with_header(type_off=1, type_len=11),
          "Unsupported section found")  # fmt: skip
    t.bad(
        "sections.gap", "one byte between", _with_header(str_off=13, str_len=7), "Unsupported section found"
    )
    t.bad("sections.overlap", "one byte", _with_header(str_off=11, str_len=9), "Section overlap found")
    t.bad("sections.overlap", "both at 0", _with_header(str_off=0, str_len=20), "Section overlap found")
    t.bad("sections.length", "one byte more", _with_header(str_len=9), "Total section length too long")
    t.bad("sections.length", "2^32 - 1", _with_header(str_len=0xFFFFFFFF), "Total section length too long")
    t.bad("sections.trailing", "one byte", _with(behind=b"\0"),
          "Unsupported section found")  # fmt: skip
    t.bad("sections.trailing", "strings one shorter", _with_header(str_len=7), "Unsupported section found")


def _strings(t: _Table) -> None:
    t.bad("strings.end", "strings first", _with(strings_first=True),
          "String section is not at the end")  # fmt: skip
    t.bad("strings.section", "no NUL at the end", lambda s: (_healthy(s), _append(s, b"a")),
          "Invalid string section")  # fmt: skip
    largest = 0xFFFFFF + 1
    t.good("of 2^24 bytes", lambda s: (s.add(sk.PTR), _append(s, bytes(largest))))
    t.bad(
        "strings.section",
        "of 2^24 + 1 bytes",
        lambda s: (s.add(sk.PTR), _append(s, bytes(largest + 1))),
        "Invalid string section",
    )


def _records(t: _Table) -> None:
    first = t.vmlinux.types
    for size in (1, 4, 11):
        sketch = t.sketch()
        sketch.add(sk.PTR)
        types = sketch.types() + bytes(size)
        head = struct.pack("<HBB5I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), 0)
        t.bytes("type.head", f"{size} bytes", head + types, f"[{first + 1}] meta_left:{size} meta_needed:12")
    for bit in (*range(16, 24), 29, 30):
        info = sk.info(sk.PTR) | 1 << bit
        t.bad(
            "type.info",
            f"bit {bit}",
            lambda s: s.raw(0, info, 0),
            f"[{first}] Invalid btf_info:{info:x}",
        )
    for kind in (0, 20, 31):
        t.bad("type.kind", f"{kind}", lambda s: s.add(kind), f"[{first}] Invalid kind:{kind}")
    for kind, need in ((sk.INT, 4), (sk.ARRAY, 12), (sk.VAR, 4), (sk.DECL_TAG, 4)):
        words = f"meta_left:{need - 4} meta_needed:{need}"
        tail = [1] * (need // 4 - 1)
        t.bad("type.tail", f"kind {kind}", lambda s: s.add(kind, 0, 4, *tail), words)
    for kind, need in (
        (sk.STRUCT, 12), (sk.UNION, 12), (sk.ENUM, 8), (sk.ENUM64, 12), (sk.FUNC_PROTO, 8), (sk.DATASEC, 12),
    ):  # fmt: skip
        words = f"meta_left:{need - 4} meta_needed:{need}"
        tail = [0] * (need // 4 - 1)
        t.bad("type.tail", f"kind {kind}", lambda s: s.add(kind, 0, 4, *tail, vlen=1), words)
        words = f"meta_left:0 meta_needed:{need * 0xFFFF}"
        t.bad("type.tail", f"kind {kind} of vlen 65535", lambda s: s.add(kind, 0, 4, vlen=0xFFFF), words)


def _int(name: int = 0, size: int = 4, data: int = 32, vlen: int = 0, kflag: int = 0) -> Draw:
    return lambda s: s.add(sk.INT, name, size, data, vlen=vlen, kflag=kflag)


def _ints(t: _Table) -> None:
    t.good("as usual", _int())
    t.good("any name", lambda s: s.add(sk.INT, s.string(" 9$ "), 4, 32))
    t.bad("int.vlen", "1", _int(vlen=1), "vlen != 0")
    t.bad("int.kflag", "1", _int(kflag=1), "Invalid btf_info kind_flag")
    for bit in (28, 31):
        data = 1 << bit | 32
        t.bad("int.data", f"bit {bit}", _int(data=data), f"Invalid int_data:{data:x}")
    t.good("bits 8 to 15 count for nothing", _int(data=0xFF20))
    t.good("128 bits", _int(size=16, data=128))
    t.good("0 bits of size 0", _int(size=0, data=0))
    t.bad("int.bits", "129 bits", _int(size=32, data=129), "nr_bits exceeds 128")
    t.bad("int.bits", "64 + 65 bits", _int(size=32, data=64 << 16 | 65), "nr_bits exceeds 128")
    t.bad("int.size", "33 bits of 4 bytes", _int(data=33), "nr_bits exceeds type_size")
    t.bad("int.size", "1 + 32 bits of 4 bytes", _int(data=1 << 16 | 32), "nr_bits exceeds type_size")
    for encoding in range(16):
        data = encoding << 24 | 32
        if encoding in (0, 1, 2, 4):
            t.good(f"encoding {encoding}", _int(data=data))
        else:
            t.bad("int.encoding", f"{encoding}", _int(data=data), "Unsupported encoding", ENOTSUPP)


_REFERENCES = (sk.PTR, *sk.MODIFIERS)
_TAKES_NAME = (sk.TYPEDEF, sk.TYPE_TAG)


def _reference(kind: int, third: int = 0, vlen: int = 0, kflag: int = 0) -> Draw:
    return lambda s: s.add(kind, s.string("n") if kind in _TAKES_NAME else 0, third, vlen=vlen, kflag=kflag)


def _references(t: _Table) -> None:
    for kind in _REFERENCES:
        t.good(f"kind {kind}", _reference(kind))
        t.bad("ref.vlen", f"kind {kind}", _reference(kind, vlen=1), "vlen != 0")
        t.bad("ref.kflag", f"kind {kind}", _reference(kind, kflag=1), "Invalid btf_info kind_flag")
        t.bad("ref.type", f"kind {kind} to 2^20", _reference(kind, 0x100000), "Invalid type_id")
        if kind in _TAKES_NAME:
            t.bad("ref.name", f"kind {kind} without", lambda s: s.add(kind), "Invalid name")
            t.bad("ref.name", f"kind {kind} with ''", lambda s: s.add(kind, s.string("")), "Invalid name")
        else:
            t.bad("ref.name", f"kind {kind} with", lambda s: s.add(kind, s.string("n")), "Invalid name")
    t.good("a pointer to what is not there", _reference(sk.PTR, 0xFFFFF))
    t.good("a type tag of any bytes", lambda s: s.add(sk.TYPE_TAG, s.string(" 9$\xff")))


def _named(kind: int) -> Callable[[bytes], Draw]:
    return lambda text: lambda s: s.add(kind, s.string(text), 8 if kind == sk.STRUCT else 0)


_IDENTIFIERS = (
    b"a", b"_", b".", b"a.b", b"..", b"A9", b"\xc0", b"\xd6", b"\xd8", b"\xf6", b"\xf8", b"\xff", b"a\xdf",
    b"n" * 511, b"n" * 512,
)  # fmt: skip
_NO_IDENTIFIERS = (
    b"9", b"9a", b" ", b"a b", b"a-", b"a$", b"a<b>", b"a:", b"*", b"\x80", b"\xbf", b"\xd7", b"a\xd7",
    b"\xf7", b"a\xf7", b"a\x80", b"\x01", b"a\n", b"a\nb", b"\x7f", b"a\\b",
    b"n" * 513, b"n" * 1100, b"\xe9" * 600,
)  # fmt: skip


def _names(t: _Table) -> None:
    for text in _IDENTIFIERS:
        t.good(f"a struct {text[:9]!r} of {len(text)} bytes", _named(sk.STRUCT)(text))
    for text in _NO_IDENTIFIERS:
        note = f"{text[:9]!r} of {len(text)} bytes"
        t.bad("struct.name", note, _named(sk.STRUCT)(text), "Invalid name")
    for text in (b"", b"9", b"n" * 513):
        t.bad(
            "ref.name",
            f"typedef {text[:9]!r}",
            lambda s: s.add(sk.TYPEDEF, s.string(text)),
            "Invalid name",
        )
        t.bad("fwd.name", f"{text[:9]!r}", lambda s: s.add(sk.FWD, s.string(text)), "Invalid name")
        t.bad("func.name", f"{text[:9]!r}", lambda s: s.add(sk.FUNC, s.string(text)), "Invalid name")
        t.bad("var.name", f"{text[:9]!r}", lambda s: s.add(sk.VAR, s.string(text), 1, 0), "Invalid name")
        t.bad("enum.name", f"{text[:9]!r}", lambda s: s.add(sk.ENUM, s.string(text), 4), "Invalid name")
        t.bad("enum64.name", f"{text[:9]!r}", lambda s: s.add(sk.ENUM64, s.string(text), 8), "Invalid name")


def _offsets(t: _Table) -> None:
    base, first = len(t.vmlinux.strings), t.vmlinux.types
    t.good("a name of the base's", lambda s: s.add(sk.STRUCT, t.vmlinux.find(b"task_struct"), 8))
    t.good(
        "the end of a name of the base's", lambda s: s.add(sk.STRUCT, t.vmlinux.find(b"task_struct") + 5, 8)
    )
    t.bad("struct.name", "the base's last NUL", lambda s: s.add(sk.STRUCT, base - 1, 8), "Invalid name")
    t.bad(
        "struct.name",
        "the last NUL",
        lambda s: (_healthy(s), s.add(sk.STRUCT, s.end_name - 1, 8)),
        "Invalid name",
    )
    end = base + len("healthy") + 1
    for offset in (end, 0xFFFFFF, 0x1000000, 0xFFFFFFFF):
        t.bad("type.name_offset", f"{offset:#x}", lambda s: (_healthy(s), s.add(sk.STRUCT, offset, 8)),
              f"[{first + 1}] Invalid name_offset:{offset}")  # fmt: skip
    fill = 0xFFFFFF - base
    t.good("2^24 - 1, with strings so far", lambda s: (
        _append(s, b"a" * (fill - 1) + b"\0a\0"), s.add(sk.STRUCT, 0xFFFFFF, 8)))  # fmt: skip
    t.bad("type.name_offset", "2^24, with strings so far", lambda s: (
        _append(s, b"a" * fill + b"\0a\0"), s.add(sk.STRUCT, 0x1000000, 8)),
        f"[{first}] Invalid name_offset:{0x1000000}")  # fmt: skip


def _array(
    name: int = 0, size: int = 0, element: int = 1, index: int = 1, vlen: int = 0, kflag: int = 0
) -> Draw:
    return lambda s: s.add(sk.ARRAY, name, size, element, index, 0xFFFFFFFF, vlen=vlen, kflag=kflag)


def _arrays(t: _Table) -> None:
    t.good("as usual", _array())
    t.good("of what is not there", _array(element=0xFFFFF, index=0xFFFFF))
    t.bad("array.name", "with", _array(name=1), "Invalid name")
    t.bad("array.vlen", "1", _array(vlen=1), "vlen != 0")
    t.bad("array.kflag", "1", _array(kflag=1), "Invalid btf_info kind_flag")
    t.bad("array.size", "1", _array(size=1), "size != 0")
    for number in (0, 0x100000):
        t.bad("array.element", f"{number:#x}", _array(element=number), "Invalid elem")
        t.bad("array.index", f"{number:#x}", _array(index=number), "Invalid index")


def _composite(kind: int, size: int, *offsets: int, kflag: int = 0, target: int = 1, name: int = 0) -> Draw:
    words = [word for offset in offsets for word in (name, target, offset)]
    return lambda s: s.add(kind, 0, size, *words, vlen=len(offsets), kflag=kflag)


def _members(t: _Table) -> None:
    end = len(t.vmlinux.strings)
    bad_offset, outside = "Invalid member bits_offset", "Member bits_offset exceeds its struct size"
    t.bad("member.name_offset", "behind all", _composite(sk.STRUCT, 8, 0, name=end),
          f"Invalid member name_offset:{end}")  # fmt: skip
    for text in (b"", b"9"):
        t.bad("member.name", f"{text!r}", lambda s: s.add(sk.STRUCT, 0, 8, s.string(text), 1, 0, vlen=1),
              "Invalid name")  # fmt: skip
    for target in (0, 0x100000):
        t.bad("member.type", f"{target:#x}", _composite(sk.UNION, 8, 0, target=target), "Invalid type_id")
    t.good("of a type that is not there", _composite(sk.UNION, 8, 0, target=0xFFFFF))
    t.bad("member.in_union", "bit 1", _composite(sk.UNION, 8, 1), bad_offset)
    t.good("in a union, with a bit field's size only", _composite(sk.UNION, 8, 7 << 24, kflag=1))
    t.good("two at the same place", _composite(sk.STRUCT, 8, 8, 8))
    t.bad("member.order", "backwards", _composite(sk.STRUCT, 8, 8, 7), bad_offset)
    t.good("a bit field's size is no offset", _composite(sk.STRUCT, 8, 9 << 24, 1, kflag=1))
    t.bad(
        "member.order", "without kind_flag it is", _composite(sk.STRUCT, 0x7FFFFFFF, 9 << 24, 1), bad_offset
    )
    for kflag in (0, 1):
        t.good("at the end", _composite(sk.STRUCT, 8, 64, kflag=kflag))
        t.bad("member.inside", "one bit behind", _composite(sk.STRUCT, 8, 65, kflag=kflag), outside)
        t.good("in the last bit", _composite(sk.STRUCT, 8, 63, kflag=kflag))
    t.good("one without anything", _composite(sk.STRUCT, 0))
    t.bad("member.inside", "2^32 - 1", _composite(sk.STRUCT, 0x1FFFFFFF, 0xFFFFFFFF), outside)
    t.good("2^32 - 1 of 2^29 bytes", _composite(sk.STRUCT, 0x20000000, 0xFFFFFFFF))


def _enums(t: _Table) -> None:
    end = len(t.vmlinux.strings)
    for kind, rule, more in ((sk.ENUM, "enum", (1,)), (sk.ENUM64, "enum64", (1, 0))):
        for size in (1, 2, 4, 8):
            t.good(f"{rule} of {size} bytes", lambda s: s.add(kind, 0, size))
        for size in (0, 3, 5, 16):
            t.bad(f"{rule}.size", f"{size}", lambda s: s.add(kind, 0, size), "Unexpected size")
        t.good(f"{rule} with kind_flag", lambda s: s.add(kind, 0, 4, kflag=1))
        t.bad(f"{rule}.value_name_offset", "behind all",
              lambda s: s.add(kind, 0, 4, end, *more, vlen=1),
              f"\tInvalid name_offset:{end}")  # fmt: skip
        t.bad(
            f"{rule}.value_name",
            "without",
            lambda s: s.add(kind, 0, 4, 0, *more, vlen=1),
            "Invalid name",
        )
        t.bad(f"{rule}.value_name", "9 in the second",
              lambda s: s.add(kind, 0, 4, s.string("a"), *more, s.string("9"), *more, vlen=2),
              "Invalid name")  # fmt: skip


def _forwards(t: _Table) -> None:
    for kflag in (0, 1):
        t.good("as usual", lambda s: s.add(sk.FWD, s.string("a"), kflag=kflag))
    t.bad("fwd.vlen", "1", lambda s: s.add(sk.FWD, s.string("a"), vlen=1), "vlen != 0")
    t.bad("fwd.type", "1", lambda s: s.add(sk.FWD, s.string("a"), 1), "type != 0")
    t.bad("fwd.name", "without", lambda s: s.add(sk.FWD), "Invalid name")
    t.bad("fwd.name", "without, of a union", lambda s: s.add(sk.FWD, kflag=1), "Invalid name")


def _functions(t: _Table) -> None:
    for vlen in (0, 1):
        t.good(f"linkage {vlen}", lambda s: s.add(sk.FUNC, s.string("a"), 0xFFFFFFFF, vlen=vlen))
    for vlen in (2, 0xFFFF):
        t.bad("func.linkage", f"{vlen}", lambda s: s.add(sk.FUNC, s.string("a"), vlen=vlen),
              "Invalid func linkage")  # fmt: skip
    t.bad("func.name", "without", lambda s: s.add(sk.FUNC), "Invalid name")
    t.bad("func.kflag", "1", lambda s: s.add(sk.FUNC, s.string("a"), kflag=1), "Invalid btf_info kind_flag")
    for params in ((), (0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (1, 1, 0, 0)):
        t.good(f"parameters {params}",
               lambda s: s.add(sk.FUNC_PROTO, 0, 0xFFFFFFFF, *params, vlen=len(params) // 2))  # fmt: skip
        t.bad("func_proto.name", f"parameters {params}",
              lambda s: s.add(sk.FUNC_PROTO, 1, 7, *params, vlen=len(params) // 2),
              "Invalid name")  # fmt: skip
        t.bad("func_proto.kflag", f"parameters {params}",
              lambda s: s.add(sk.FUNC_PROTO, 0, 7, *params, vlen=len(params) // 2, kflag=1),
              "Invalid btf_info kind_flag")  # fmt: skip


def _var(target: int = 1, linkage: int = 0, vlen: int = 0, kflag: int = 0) -> Draw:
    return lambda s: s.add(sk.VAR, s.string("a"), target, linkage, vlen=vlen, kflag=kflag)


def _variables(t: _Table) -> None:
    for linkage in (0, 1):
        t.good(f"linkage {linkage}", _var(0xFFFFF, linkage))
    for linkage in (2, 0xFFFFFFFF):
        t.bad("var.linkage", f"{linkage:#x}", _var(linkage=linkage), "Linkage not supported")
    t.bad("var.vlen", "1", _var(vlen=1), "vlen != 0")
    t.bad("var.kflag", "1", _var(kflag=1), "Invalid btf_info kind_flag")
    t.bad("var.name", "without", lambda s: s.add(sk.VAR, 0, 1, 0), "Invalid name")
    for target in (0, 0x100000):
        t.bad("var.type", f"{target:#x}", _var(target), "Invalid type_id")


def _datasec(size: int, *words: int, text: bytes = b".data", kflag: int = 0) -> Draw:
    return lambda s: s.add(sk.DATASEC, s.string(text), size, *words, vlen=len(words) // 3, kflag=kflag)


def _datasecs(t: _Table) -> None:
    t.good("two variables", _datasec(8, 1, 0, 4, 0xFFFFF, 4, 4))
    t.good("none", _datasec(1))
    t.bad("datasec.size", "0", _datasec(0), "size == 0")
    t.bad("datasec.kflag", "1", _datasec(8, kflag=1), "Invalid btf_info kind_flag")
    t.bad("datasec.name", "without", lambda s: s.add(sk.DATASEC, 0, 8), "Invalid name")
    for text in (b"", b"\x1f", b"\x7f", b"a\x80", b"\x9f", b"n" * 513, b"a\nb"):
        t.bad("datasec.name", f"{text[:9]!r}", _datasec(8, text=text), "Invalid name")
    for text in (b" ", b"~", b"?a b$", b"\xa0", b"\xff", b"\xd7", b"9", b"n" * 512):
        t.good(f"section {text[:9]!r}", _datasec(8, text=text))
    for target in (0, 0x100000):
        t.bad("datasec.var_type", f"{target:#x}", _datasec(8, target, 0, 4), "Invalid type_id")
    t.good("up to the end", _datasec(8, 1, 7, 1))
    t.bad("datasec.var_offset", "at the end", _datasec(8, 1, 8, 1), "Invalid offset")
    t.bad("datasec.var_offset", "overlapping", _datasec(8, 1, 0, 4, 1, 3, 4), "Invalid offset")
    t.good("a gap", _datasec(8, 1, 0, 3, 1, 4, 4))
    t.bad("datasec.var_size", "0", _datasec(8, 1, 0, 0), "Invalid size")
    t.bad("datasec.var_size", "one more", _datasec(8, 1, 0, 9), "Invalid size")
    t.good("the whole section", _datasec(8, 1, 0, 8))
    t.bad("datasec.var_end", "one more", _datasec(8, 1, 1, 8), "Invalid offset+size")
    whole = 0xFFFFFFFF
    t.good("an end that wraps around", _datasec(whole, 1, 1, whole))
    t.bad(
        "datasec.sum", "ends that wrap around", _datasec(whole, 1, 1, whole, 1, 0, 1), "Invalid btf_info size"
    )


def _floats(t: _Table) -> None:
    for size in (2, 4, 8, 12, 16):
        t.good(f"float of {size} bytes", lambda s: s.add(sk.FLOAT, 0, size))
    for size in (0, 1, 3, 10, 17):
        t.bad("float.size", f"{size}", lambda s: s.add(sk.FLOAT, 0, size), "Invalid type_size")
    t.bad("float.vlen", "1", lambda s: s.add(sk.FLOAT, 0, 8, vlen=1), "vlen != 0")
    t.bad("float.kflag", "1", lambda s: s.add(sk.FLOAT, 0, 8, kflag=1), "Invalid btf_info kind_flag")


def _decl_tag(index: int = 0, vlen: int = 0, kflag: int = 0) -> Draw:
    return lambda s: s.add(sk.DECL_TAG, s.string(" 9"), 0xFFFFFFFF, index, vlen=vlen, kflag=kflag)


def _decl_tags(t: _Table) -> None:
    for index in (0, 0x7FFFFFFF, 0xFFFFFFFF):
        t.good(f"index {index:#x}", _decl_tag(index))
    for index in (0xFFFFFFFE, 0x80000000):
        t.bad("decl_tag.component", f"{index:#x}", _decl_tag(index), "Invalid component_idx")
    t.bad("decl_tag.value", "without", lambda s: s.add(sk.DECL_TAG, 0, 1, 0), "Invalid value")
    t.bad("decl_tag.value", "''", lambda s: s.add(sk.DECL_TAG, s.string(""), 1, 0), "Invalid value")
    t.bad("decl_tag.vlen", "1", _decl_tag(vlen=1), "vlen != 0")
    t.bad("decl_tag.kflag", "1", _decl_tag(kflag=1), "Invalid btf_info kind_flag")


def _upwards(length: int, kind: int = sk.CONST, end: int = 0) -> Draw:
    """A chain whose first link is the first type: the kernel follows it whole."""

    def draw(s: Sketch) -> None:
        name = s.string("n") if kind in _TAKES_NAME else 0
        for n in range(length):
            s.add(kind, name, end if n == length - 1 else s.end_id + 1)

    return draw


def _chains(t: _Table) -> None:
    too_long = "Max chain length or cycle detected"
    disorder = "Type tags don't precede modifiers"
    for kind in sk.MODIFIERS:
        t.good(f"32 of kind {kind}", _upwards(32, kind))
        t.bad("chain.length", f"33 of kind {kind}", _upwards(33, kind), too_long, ELOOP)
    t.good("100 that each lead to the one before", lambda s: [
        s.add(sk.CONST, 0, s.end_id - 1 if n else 0) for n in range(100)])  # fmt: skip
    t.good(
        "32, then a type of the module's own", lambda s: (_upwards(32, end=s.first_id + 32)(s), _healthy(s))
    )
    t.good("32 pointers more", lambda s: [s.add(sk.PTR, 0, s.end_id + 1) for _ in range(64)])
    t.bad("chain.length", "to itself", lambda s: s.add(sk.CONST, 0, s.end_id), too_long, ELOOP)
    t.bad("chain.length", "in a circle", lambda s: (
        s.add(sk.CONST, 0, s.end_id + 1), s.add(sk.CONST, 0, s.first_id)), too_long, ELOOP)  # fmt: skip
    t.bad(
        "chain.missing",
        "to the next type that is not there",
        lambda s: s.add(sk.CONST, 0, s.end_id + 1),
        _DANGLING,
    )
    t.bad("chain.missing", "to 2^20 - 1", lambda s: s.add(sk.CONST, 0, 0xFFFFF), _DANGLING)

    def tag(s: Sketch, to: int) -> int:
        return s.add(sk.TYPE_TAG, s.string("tag"), to)

    t.good("a tag before a modifier", lambda s: (tag(s, s.end_id + 1), s.add(sk.CONST)))
    t.bad("chain.tag_order", "a modifier before a tag", lambda s: (
        s.add(sk.CONST, 0, s.end_id + 1), tag(s, 0)), disorder)  # fmt: skip
    t.bad(
        "chain.tag_order",
        "the same, downwards",
        lambda s: (tag(s, 0), s.add(sk.CONST, 0, s.end_id - 1)),
        disorder,
    )
    t.good("a tag before a pointer to a modifier to a pointer to a tag", lambda s: (
        tag(s, s.end_id + 1), s.add(sk.PTR, 0, s.end_id + 1), s.add(sk.CONST, 0, s.end_id + 1),
        s.add(sk.PTR, 0, s.end_id + 1), tag(s, 0)))  # fmt: skip


def _base(t: _Table, rule: str, note: str, draw: Draw, words: str = "", errno: int = EINVAL) -> None:
    """One ``.BTF.base`` on its own, below a split BTF that asks nothing of it."""
    base = empty_base()
    draw(base)
    t.bytes(rule, f"base: {note}", Pair(base).split.bytes(), words, errno, base.bytes())


def _bases(t: _Table) -> None:
    split = Sketch(1, 1).bytes()
    t.bytes("header.length", "base: empty section", split, "hdr_len not found", base=b"")
    t.bytes("header.no_data", "base: only a header", split, "No data", base=Sketch().bytes())
    t.bytes("strings.section", "base: types alone", split, "Invalid string section",
            base=Sketch(records=[[0, sk.info(sk.PTR), 0]]).bytes())  # fmt: skip
    t.bytes(
        "strings.first",
        "base",
        split,
        "Invalid string section",
        base=Sketch(strings=bytearray(b"a\0")).bytes(),
    )
    t.bytes("strings.section", "base: no NUL at the end", split, "Invalid string section",
            base=Sketch(strings=bytearray(b"\0a")).bytes())  # fmt: skip
    t.bytes("", "base: of no use without .BTF", None, base=b"garbage")
    _base(t, "", "no types", lambda s: None)
    t.bad("sections.trailing", "split BTF with an empty one", lambda s: setattr(s, "behind", b"\0"),
          "Unsupported section found")  # fmt: skip
    _base(t, "header.magic", "base", lambda s: s.header.update(magic=0), "Invalid magic")
    _base(t, "type.kind", "base", lambda s: s.add(20), "[1] Invalid kind:20")
    _base(t, "struct.name", "base", lambda s: s.add(sk.STRUCT, s.string("9"), 4), "Invalid name")
    _base(
        t,
        "chain.length",
        "base",
        lambda s: s.add(sk.CONST, 0, 1),
        "Max chain length or cycle detected",
        ELOOP,
    )


def _relocations(t: _Table) -> None:
    vmlinux = t.vmlinux
    for kind in (sk.STRUCT, sk.UNION, sk.ENUM, sk.INT, sk.FLOAT):
        nameless: Draw = _int() if kind == sk.INT else lambda s: s.add(kind, 0, 4)
        words = f"type [1], kind [{kind}] is invalid for distilled base BTF; it is anonymous"
        _base(t, "relocate.anonymous", f"kind {kind}", nameless, words)
    unexpected: dict[int, Draw] = {
        kind: _reference(kind) for kind in (*_REFERENCES,) if kind != sk.FLOAT
    } | {
        sk.ARRAY: _array(), sk.VAR: _var(), sk.DATASEC: _datasec(8), sk.DECL_TAG: _decl_tag(),
        sk.FUNC: lambda s: s.add(sk.FUNC, s.string("a")), sk.FUNC_PROTO: lambda s: s.add(sk.FUNC_PROTO),
        sk.ENUM64: lambda s: s.add(sk.ENUM64, s.string("a"), 8),
    }  # fmt: skip
    for kind, draw in unexpected.items():
        words = f"type [1] in distilled based BTF has unexpected kind [{kind}]"
        _base(t, "relocate.kind", f"kind {kind}", draw, words)
    for note, one in _samples(vmlinux):
        _base(t, "", note, lambda s: add_named(s, one))
    for one, note in _misfits(vmlinux):
        words = f"distilled base BTF type '{one.name.decode()}' [1] is not mapped to base BTF id"
        _base(t, "relocate.unmapped", note, lambda s: add_named(s, one), words)
    _embedded(t)
    _doubles(t)


def _samples(vmlinux: Vmlinux) -> Iterator[tuple[str, Named]]:
    """One of each kind that vmlinux has, and what maps all the same."""
    for kind, found in vmlinux.unique.items():
        if found:
            yield f"kind {kind}", found[0]
    for kind in (sk.STRUCT, sk.UNION):
        one = vmlinux.unique[kind][0]
        yield "of another size, not embedded", Named(0, kind, one.name, one.third + 1, 0)
        other = sk.STRUCT + sk.UNION - kind
        yield "a struct as a union, or the other way", Named(0, other, one.name, one.third, 0)
    struct_ = next(one for one in vmlinux.unique[sk.STRUCT] if not one.extra)
    yield "a struct without bit fields as a forward", Named(0, sk.FWD, struct_.name, 0, 0)


def _misfits(vmlinux: Vmlinux) -> Iterator[tuple[Named, str]]:
    number = next(one for one in vmlinux.unique[sk.INT] if one.extra >> 24 != 4)
    enum = vmlinux.unique[sk.ENUM][0]
    struct_ = next(one for one in vmlinux.unique[sk.STRUCT] if one.extra)
    union = next(one for one in vmlinux.unique[sk.UNION] if not one.extra)
    yield Named(0, sk.STRUCT, b"no_such_type_at_all", 4, 0), "a name that is nowhere"
    yield Named(0, sk.INT, number.name, 16, number.extra), "an int of another size"
    yield Named(0, sk.INT, number.name, number.third, number.extra ^ 1 << 24), "an int of another encoding"
    yield Named(0, sk.FLOAT, number.name, number.third if number.third > 1 else 2, 0), "an int as a float"
    yield Named(0, sk.ENUM, enum.name, 8 if enum.third != 8 else 4, 0), "an enum of another size"
    yield Named(0, sk.ENUM, union.name, 4, 0), "a union as an enum"
    yield Named(0, sk.FWD, struct_.name, 0, 0), "a struct with bit fields as a forward"
    yield Named(0, sk.FWD, union.name, 0, 1), "a union without bit fields as a forward"


def _embedded(t: _Table) -> None:
    """The size of what a module's own struct holds must agree; what it points to may differ."""
    one = t.vmlinux.unique[sk.STRUCT][0]
    words = f"distilled base BTF type '{one.name.decode()}' [1] is not mapped to base BTF id"
    for note, step in (
        ("as it is", lambda s: 1),
        ("const", lambda s: s.add(sk.CONST, 0, 1)),
        ("array", lambda s: s.add(sk.ARRAY, 0, 0, 1, 1, 4)),
        ("typedef of an array of const",
         lambda s: s.add(sk.TYPEDEF, s.string("t"), s.add(sk.ARRAY, 0, 0, s.add(sk.CONST, 0, 1), 1, 4))),
    ):  # fmt: skip
        for kind in (sk.STRUCT, sk.UNION):
            for size, rule in ((one.third, ""), (one.third + 1, "relocate.unmapped")):
                pair = _pair(Named(0, sk.STRUCT, one.name, size, 0))
                target = step(pair.split)
                pair.split.add(kind, pair.split.string("outer"), 4096, 0, target, 0, vlen=1)
                btf, base = pair.bytes()
                t.bytes(
                    rule,
                    f"embedded {note} in kind {kind}, size {size}",
                    btf,
                    words if rule else "",
                    base=base,
                )
    pair = _pair(Named(0, sk.STRUCT, one.name, one.third + 1, 0))
    target = pair.split.add(sk.PTR, 0, 1)
    pair.split.add(sk.STRUCT, pair.split.string("outer"), 8, 0, target, 0, vlen=1)
    btf, base = pair.bytes()
    t.bytes("", "a pointer to it, of another size", btf, base=base)


def _doubles(t: _Table) -> None:
    by_key: dict[tuple[bytes, int], list[Named]] = {}
    for one in t.vmlinux.doubled:
        if one.kind != sk.FWD:
            by_key.setdefault((one.name, one.third), []).append(one)
    (name, size), twins = next((item for item in by_key.items() if len(item[1]) > 1), ((b"", 0), []))
    if not twins:
        return  # not every vmlinux has two of one name and size: s390's smoke has none
    first, second = twins[0].id, twins[1].id
    words = (
        f"distilled base BTF type '{name.decode()}' [1], size {size} has multiple candidates of the same "
        f"size (ids [{second}, {first}]) in base BTF"
    )
    _base(t, "relocate.ambiguous", "two of one size", lambda s: add_named(s, twins[0]), words)
    alone = next(
        (found[0] for (other, _), found in by_key.items()
         if len(found) == 1 and len([one for one in t.vmlinux.doubled if one.name == other]) > 1
         and all(one.kind != sk.FWD for one in t.vmlinux.doubled if one.name == other)),
        None,
    )  # fmt: skip
    if alone is not None:
        _base(t, "", "two of one name, told apart by their sizes", lambda s: add_named(s, alone))


def _pair(*named: Named) -> Pair:
    base = empty_base()
    for one in named:
        add_named(base, one)
    return Pair(base)


def _mapped_strings(t: _Table) -> None:
    one = t.vmlinux.unique[sk.STRUCT][0]

    def add(
        rule: str, note: str, offset: Callable[[Pair], int], words: str = "", errno: int = ENOENT
    ) -> None:
        pair = _pair(one)
        pair.split.add(sk.STRUCT, offset(pair), 8)
        btf, base = pair.bytes()
        t.bytes(rule, note, btf, words, errno, base)

    add("", "no string", lambda pair: 0)
    add("", "the name of a type of the base", lambda pair: 1)
    add("", "the first of its own", lambda pair: pair.split.string("own"))
    add(
        "relocate.string",
        "within that name",
        lambda pair: 2,
        "string '' [offset 2] is not mapped to base BTF",
    )
    pair = _pair(one)
    offset = pair.base.string("unused")
    pair = Pair(pair.base)
    pair.split.add(sk.STRUCT, offset, 8)
    btf, base = pair.bytes()
    words = f"string '' [offset {offset}] is not mapped to base BTF"
    t.bytes("relocate.string", "one of no type", btf, words, ENOENT, base)
