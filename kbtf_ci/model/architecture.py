# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The architectures that Linux runs on, as far as a file tells them apart: names, and marks in headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

ByteOrder = Literal["<", ">"]  # as struct and numpy write it
ORDER_NAMES: Final[Mapping[ByteOrder, str]] = {"<": "little-endian", ">": "big-endian"}


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    ``name`` is what messages call it: what ``uname -m`` says, and what the kernel calls its own folder where
    that says more to people (arm64). ``kernel`` is that folder, make's ``ARCH=``; ``uname`` what ``uname -m``
    says; ``debian`` what Debian calls the port, "" where it has none. ``machine``, ``bits`` and ``order`` are
    e_machine, EI_CLASS and EI_DATA of its ELF files.
    """

    name: str
    kernel: str
    uname: str
    debian: str
    machine: int
    bits: int
    order: ByteOrder


ARCHITECTURES: Final = (
    Architecture("x86_64", "x86", "x86_64", "amd64", 62, 64, "<"),
    Architecture("i386", "x86", "i686", "i386", 3, 32, "<"),
    Architecture("arm64", "arm64", "aarch64", "arm64", 183, 64, "<"),
    Architecture("arm", "arm", "armv7l", "armhf", 40, 32, "<"),
    Architecture("riscv64", "riscv", "riscv64", "riscv64", 243, 64, "<"),
    Architecture("riscv32", "riscv", "riscv32", "", 243, 32, "<"),
    Architecture("ppc64le", "powerpc", "ppc64le", "ppc64el", 21, 64, "<"),
    Architecture("ppc64", "powerpc", "ppc64", "ppc64", 21, 64, ">"),
    Architecture("ppc", "powerpc", "ppc", "powerpc", 20, 32, ">"),
    Architecture("s390x", "s390", "s390x", "s390x", 22, 64, ">"),
    Architecture("loongarch64", "loongarch", "loongarch64", "loong64", 258, 64, "<"),
    Architecture("mips64el", "mips", "mips64", "mips64el", 8, 64, "<"),
    Architecture("mips64", "mips", "mips64", "mips64", 8, 64, ">"),
    Architecture("mipsel", "mips", "mips", "mipsel", 8, 32, "<"),
    Architecture("mips", "mips", "mips", "mips", 8, 32, ">"),
    Architecture("sparc64", "sparc", "sparc64", "sparc64", 43, 64, ">"),
)  # fmt: skip
_BY_NAME: Final = {one.name: one for one in ARCHITECTURES}
X86_64, I386 = _BY_NAME["x86_64"], _BY_NAME["i386"]

# What the headers of boot images bear: an offset, and the bytes there. Documentation/arch/arm64/booting.rst,
# Documentation/arch/riscv/boot-image-header.rst, arch/arm/boot/compressed/head.S, arch/s390/boot/head.S.
IMAGE_MARKS: Final = (
    (0x38, b"ARM\x64", _BY_NAME["arm64"]),
    (0x38, b"RSC\x05", _BY_NAME["riscv64"]),
    (0x24, b"\x18\x28\x6f\x01", _BY_NAME["arm"]),
    (0x10008, b"S390EP", _BY_NAME["s390x"]),
)
# Machine of a PE file (include/linux/pe.h), which an EFI stub makes of an image; 0x01c2 is ARM's for Thumb.
PE_MACHINES: Final[Mapping[int, Architecture]] = {
    0x8664: X86_64,
    0x014C: I386,
    0xAA64: _BY_NAME["arm64"],
    0x01C2: _BY_NAME["arm"],
    0x5064: _BY_NAME["riscv64"],
    0x5032: _BY_NAME["riscv32"],
    0x6264: _BY_NAME["loongarch64"],
}


def of_elf(machine: int, bits: int, order: ByteOrder) -> Architecture:
    """Return the architecture of ELF files of this e_machine, class and byte order.

    One that is in no table is named by these numbers, and has no other names.
    """
    for one in ARCHITECTURES:
        if (one.machine, one.bits, one.order) == (machine, bits, order):
            return one
    name = f"ELF machine {machine} ({bits} bits, {ORDER_NAMES[order]})"
    return Architecture(name, "", "", "", machine, bits, order)
