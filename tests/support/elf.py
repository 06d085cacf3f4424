# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Small real ELF files: an ET_REL object with the sections that a test needs."""

from __future__ import annotations

import struct
from collections.abc import Iterable

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")


def make_elf(sections: Iterable[tuple[str, bytes]]) -> bytes:
    """Return an ELF64 relocatable file; a name may stand twice."""
    body = b""
    entries = [(0, 0, 0, 0)]
    names = b"\0"
    for name, data in [*sections, (".shstrtab", b"")]:
        offset = len(names)
        names += name.encode() + b"\0"
        entries.append((offset, 3 if name == ".shstrtab" else 1, _HEADER.size + len(body), len(data)))
        body += data
    offset, kind, start, _ = entries[-1]
    entries[-1] = (offset, kind, start, len(names))
    body += names
    table = b"".join(_SECTION.pack(n, k, 0, 0, s, size, 0, 0, 1, 0) for n, k, s, size in entries)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = _HEADER.pack(
        ident, 1, 62, 1, 0, 0, _HEADER.size + len(body), 0, _HEADER.size, 0, 0, _SECTION.size, len(entries),
        len(entries) - 1,
    )  # fmt: skip
    return header + body + table


def make_module(name: str, btf: bytes | None = b"\x9f\xeb\x01\0rest", depends: str = "") -> bytes:
    """Return what a ``.ko`` looks like to the inventory; ``btf`` None leaves the section out."""
    info = f"license=GPL\0name={name}\0depends={depends}\0".encode()
    return make_elf([(".modinfo", info), *([(".BTF", btf)] if btf is not None else [])])
