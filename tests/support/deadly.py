# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules of x86 whose init function does what a test wants, among it what no guest survives."""

from __future__ import annotations

import io

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

INVALID_OPCODE = b"\x0f\x0b"  # ud2
ENDLESS_LOOP = b"\xeb\xfe"  # jmp to itself
RESET = b"\x66\xba\xf9\x0c\xb0\x06\xee\xeb\xfe"  # out 6 to port 0xcf9, the chipset's reset register


def with_init(ko: bytes, code: bytes) -> bytes:
    """Return the module with ``code`` in place of its init function's first instructions."""
    elf = ELFFile(io.BytesIO(ko))
    symbols = elf.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    found = symbols.get_symbol_by_name("init_module")
    assert found
    (symbol,) = found
    section = elf.get_section(symbol["st_shndx"])
    start = symbol["st_value"]
    result = bytearray(ko)
    result[section["sh_offset"] + start : section["sh_offset"] + start + len(code)] = code
    relocations = elf.get_section_by_name(f".rela{section.name}")
    assert isinstance(relocations, RelocationSection)
    for number, relocation in enumerate(relocations.iter_relocations()):
        if start - 8 < relocation["r_offset"] < start + len(code):
            at = relocations["sh_offset"] + number * relocations["sh_entsize"] + 8
            result[at : at + 8] = bytes(8)
    return bytes(result)
