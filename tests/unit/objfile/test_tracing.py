# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where functions and ftrace's places are, read from an object file that is written by hand."""

from __future__ import annotations

import struct

from kbtf_ci.objfile.elf import ElfImage
from kbtf_ci.objfile.tracing import Place, Places

FUNC, OBJECT = 2, 1
SECTIONS = (".text", ".init.text", ".exit.text")


def symbol(name: int, kind: int, section: int, value: int, size: int) -> bytes:
    return struct.pack("<IBBHQQ", name, 1 << 4 | kind, 0, section, value, size)


def image(symbols: list[tuple[str, int, int, int, int]], locations: list[tuple[int, int]]) -> ElfImage:
    """Return an ELF file: symbols (name, kind, section, value, size), locations (symbol's number, addend)."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in symbols)
    offsets = [strings.index(b"\0" + name.encode() + b"\0") + 1 for name, *_ in symbols]
    table = bytes(24) + b"".join(symbol(at, *rest) for at, (_, *rest) in zip(offsets, symbols, strict=True))
    rela = b"".join(
        struct.pack("<QQq", 8 * place, number << 32 | 1, addend)
        for place, (number, addend) in enumerate(locations)
    )
    parts = [(name, 1, b"\x90" * 64, 0) for name in SECTIONS]
    parts += [(".rela__mcount_loc", 4, rela, 5), (".symtab", 2, table, 6), (".strtab", 3, strings, 0)]
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in parts) + b".shstrtab\0"
    whole = [*parts, (".shstrtab", 3, names, 0)]
    body, rows, at = b"", [bytes(64)], 64
    for name, kind, data, link in whole:
        name_at = names.index(b"\0" + name.encode() + b"\0") + 1
        rows.append(struct.pack("<IIQQQQIIQQ", name_at, kind, 0, 0, at, len(data), link, 0, 1, 0))
        body += data
        at += len(data)
    ident, count = b"\x7fELF\2\1\1" + bytes(9), len(rows)
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 1, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, count, count - 1)
    return ElfImage(header + body + b"".join(rows))


SYMBOLS = [
    ("traced", FUNC, 1, 16, 8),
    ("untraced", FUNC, 1, 24, 8),
    ("begin", FUNC, 2, 0, 8),
    ("end", FUNC, 3, 0, 8),
    ("clone.isra.0", FUNC, 1, 40, 8),
    ("traced", FUNC, 1, 48, 8),
    ("data", OBJECT, 1, 0, 8),
    ("elsewhere", FUNC, 0, 0, 0),
    ("absolute", FUNC, 0xFFF1, 7, 0),
]


def test_functions_are_where_the_kernel_finds_them_and_init_is_told_apart() -> None:
    places = Places.of(image(SYMBOLS, []))
    assert places.kept == {
        "traced": Place(1, 16, 8),  # of two the first
        "untraced": Place(1, 24, 8),
        "end": Place(3, 0, 8),
        "clone.isra.0": Place(1, 40, 8),
    }
    assert places.init == {"begin"}
    assert places.locations == {}


def test_a_place_of_ftraces_is_the_symbols_address_and_the_addend() -> None:
    # At 16 + 4: behind an endbr64. The second is of a symbol that the file does not define.
    places = Places.of(image(SYMBOLS, [(1, 4), (8, 0), (99, 0)]))
    assert places.locations == {1: [20]}
    assert places.has_location(places.kept["traced"])
    assert not places.has_location(places.kept["untraced"])
    assert not places.has_location(places.kept["end"])


def test_a_file_without_symbols_has_no_places() -> None:
    bare = image([], [])
    assert Places.of(bare) == Places({}, frozenset(), {})
