# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from elftools.elf.enums import ENUM_E_MACHINE

from kbtf_ci.model.architecture import ARCHITECTURES, IMAGE_MARKS, PE_MACHINES, of_elf

# arch/*/include/asm/elf.h, ELF_ARCH
MACHINES = {
    "x86": ("EM_X86_64", "EM_386"), "arm64": ("EM_AARCH64",), "arm": ("EM_ARM",), "riscv": ("EM_RISCV",),
    "powerpc": ("EM_PPC64", "EM_PPC"), "s390": ("EM_S390",), "loongarch": ("EM_LOONGARCH",),
    "mips": ("EM_MIPS",), "sparc": ("EM_SPARCV9",),
}  # fmt: skip


def test_each_is_found_by_its_elf_header_and_by_nothing_elses() -> None:
    for one in ARCHITECTURES:
        assert of_elf(one.machine, one.bits, one.order) is one
    assert len({one.name for one in ARCHITECTURES}) == len(ARCHITECTURES)


def test_the_numbers_are_those_of_elf() -> None:
    for one in ARCHITECTURES:
        assert one.machine in {ENUM_E_MACHINE[name] for name in MACHINES[one.kernel]}


def test_one_that_no_table_has_is_told_by_its_numbers() -> None:
    found = of_elf(183, 64, ">")
    assert (found.name, found.kernel) == ("ELF machine 183 (64 bits, big-endian)", "")
    assert found == of_elf(183, 64, ">")


def test_image_headers_lead_into_the_table() -> None:
    assert {one for *_, one in IMAGE_MARKS} | {*PE_MACHINES.values()} <= {*ARCHITECTURES}
