# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules of x86 whose init function does what a test wants, among it what no guest survives."""

from __future__ import annotations

import io

from elftools.elf.elffile import ELFFile

INVALID_OPCODE = b"\x0f\x0b"  # ud2
ENDLESS_LOOP = b"\xeb\xfe"  # jmp to itself
RESET = b"\x66\xba\xf9\x0c\xb0\x06\xee\xeb\xfe"  # out 6 to port 0xcf9, the chipset's reset register


def with_init(ko: bytes, code: bytes) -> bytes:
    """Return the module with ``code`` in place of its init function's first instructions."""
    elf = ELFFile(io.BytesIO(ko))
    (symbol,) = elf.get_section_by_name(".symtab").get_symbol_by_name("init_module")
    section = elf.get_section(symbol["st_shndx"])
    start = symbol["st_value"]
    result = bytearray(ko)
    result[section["sh_offset"] + start : section["sh_offset"] + start + len(code)] = code
    relocations = elf.get_section_by_name(f".rela{section.name}")
    for number, relocation in enumerate(relocations.iter_relocations()):
        if start - 8 < relocation["r_offset"] < start + len(code):
            at = relocations["sh_offset"] + number * relocations["sh_entsize"] + 8
            result[at : at + 8] = bytes(8)
    return bytes(result)
