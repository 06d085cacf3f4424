# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Sets of kfuncs as a module's source declares them, over BTF written by hand, in a real ELF file.

The layout is that of the macros in include/linux/btf_ids.h: BTF_KFUNCS_START, BTF_ID_FLAGS, BTF_ID_LIST.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.objfile.elf import ElfImage
from tests.support import sketch as sk
from tests.support.images import STRTAB, SYMTAB, Part, build

IMPLICIT = 1 << 16  # KF_IMPLICIT_ARGS, as the others in include/linux/btf.h
ACQUIRE = 1  # KF_ACQUIRE
ITER_NEW, ITER_NEXT, ITER_DESTROY = 1 << 8, 1 << 9, 1 << 10
VOID, FLAGGED = 0, 1

Symbol = tuple[str, int, int]  # name, offset and size in bytes


class Kernel:
    """BTF under construction, of vmlinux or, over ``base``, of a module."""

    def __init__(self, base: Btf | None = None) -> None:
        self._base = base
        self.sketch = (
            sk.Sketch(base.nr_types, len(base.strings.data)) if base else sk.Sketch(strings=bytearray(b"\0"))
        )
        self.int = self.sketch.add(sk.INT, self.sketch.string("int"), 4, 32)

    def pointer(self, to: int) -> int:
        return self.sketch.add(sk.PTR, 0, to)

    def struct(self, name: str, size: int = 8) -> int:
        return self.sketch.add(sk.STRUCT, self.sketch.string(name), size)

    def to_struct(self, name: str, size: int = 8) -> int:
        return self.pointer(self.struct(name, size))

    def const(self, of: int) -> int:
        return self.sketch.add(sk.CONST, 0, of)

    def function(self, name: str, *parameters: int, returns: int = VOID) -> int:
        words = [word for parameter in parameters for word in (0, parameter)]
        proto = self.sketch.add(sk.FUNC_PROTO, 0, returns, *words, vlen=len(parameters))
        return self.sketch.add(sk.FUNC, self.sketch.string(name) if name else 0, proto)

    @property
    def btf(self) -> Btf:
        return Btf.parse(self.sketch.bytes(), self._base)


def pack(*words: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(words)}I", *words)


def symbols_of(name: str, declared: Iterable[str], at: int = 0) -> list[Symbol]:
    """Return the symbols of a set at ``at``: its list's own, the set's, and one a function."""
    names = list(declared)
    return [
        (name, at, 0),
        (f"__BTF_ID__set8__{name}", at, 8 + 8 * len(names)),
        *((f"__BTF_ID__func__{one}__{n}", at + 8 + 8 * n, 4) for n, one in enumerate(names)),
    ]


def make_image(
    words: Iterable[int],
    symbols: Iterable[Symbol] = (),
    *,
    calls: Iterable[str] = (),
    order: str = "<",
) -> ElfImage:
    """Return a module with these words in ``.BTF_ids``, these symbols there and ``calls`` undefined."""
    strings, rows = bytearray(b"\0"), bytearray(24)
    entry = struct.Struct(f"{order}IBBHQQ")
    for name, offset, size in symbols:
        rows += entry.pack(len(strings), 1, 0, 1, offset, size)
        strings += name.encode() + b"\0"
    for name in calls:
        rows += entry.pack(len(strings), 0x10, 0, 0, 0, 0)
        strings += name.encode() + b"\0"
    parts = [
        Part(".BTF_ids", pack(*words, order=order)),
        Part(".symtab", bytes(rows), SYMTAB, link=3),
        Part(".strtab", bytes(strings), STRTAB),
    ]
    return ElfImage(build(parts, order=order))
