# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whose kernel a boot image is, from its header alone: nothing is unpacked.

Documentation/arch/x86/boot.rst has the header of x86; other architectures are told by their magic.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError, file_error

# The real-mode part, where the version's text is too: at most 64 sectors behind the boot sector.
_SETUP_BYTES: Final = 65 * 512
_BOOT_FLAG: Final = (0x1FE, b"\x55\xaa")
_HEADER: Final = (0x202, b"HdrS")
_PROTOCOL, _KERNEL_VERSION, _XLOADFLAGS = 0x206, 0x20E, 0x236
_VERSION_BASE: Final = 0x200
_HAS_XLOADFLAGS: Final = 0x20C
_XLF_KERNEL_64: Final = 1

# Offset and magic: Documentation/arch/arm64/booting.rst and arch/riscv/boot-image-header.rst, arch/arm's
# zImage (head.S), then e_machine of an ELF file.
_OTHERS: Final = (
    (0x38, b"ARM\x64", "arm64"),
    (0x38, b"RSC\x05", "riscv"),
    (0x24, b"\x18\x28\x6f\x01", "arm"),
)
_ELF_MACHINES: Final = {
    20: "powerpc",
    21: "powerpc64",
    22: "s390",
    40: "arm",
    183: "arm64",
    243: "riscv",
    258: "loongarch",
}
_PE_MACHINES: Final = {0xAA64: "arm64", 0x5064: "riscv", 0x6264: "loongarch"}
_WAY_OUT: Final = "name a bzImage or vmlinuz of an x86_64 kernel"


def read_release(image: Path) -> str:
    """Return the release in the boot header of an x86_64 bzImage, such as ``6.12.107+deb13-amd64``.

    Raises UsageError, naming the file, when it cannot be read, is for another architecture, or is none.
    """
    try:
        with image.open("rb") as file:
            data = file.read(_SETUP_BYTES)
    except OSError as error:
        raise file_error(error, image, "cannot be read") from error
    if any(data[at : at + len(magic)] != magic for at, magic in (_BOOT_FLAG, _HEADER)):
        raise UsageError(f"{image}: {_what_else(data)}", hint=_WAY_OUT)
    protocol, xloadflags = _word(data, _PROTOCOL), _word(data, _XLOADFLAGS)
    if protocol < _HAS_XLOADFLAGS or not xloadflags & _XLF_KERNEL_64:
        raise UsageError(f"{image}: a kernel for 32-bit x86", hint=_WAY_OUT)
    start = _VERSION_BASE + _word(data, _KERNEL_VERSION)
    text = data[start:].split(b"\0", 1)[0].decode("ascii", errors="replace")
    release = text.split(" ", 1)[0]
    if start == _VERSION_BASE or not release[:1].isdigit() or not release.isprintable() or "/" in release:
        raise UsageError(f"{image}: a bzImage whose header names no release", hint=_WAY_OUT)
    return release


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _what_else(data: bytes) -> str:
    for at, magic, name in _OTHERS:
        if data[at : at + len(magic)] == magic:
            return f"a kernel for {name}, not x86_64"
    if data[:4] == b"\x7fELF":
        return _elf(data)
    if data[:2] == b"MZ" and (name := _pe_machine(data)):
        return f"a kernel for {name}, not x86_64"
    return "not a kernel that x86_64 boots (no boot header)"


def _elf(data: bytes) -> str:
    order = "big" if data[5:6] == b"\x02" else "little"
    machine = int.from_bytes(data[18:20], "big" if order == "big" else "little")
    if machine in _ELF_MACHINES:
        return f"a kernel for {_ELF_MACHINES[machine]}, not x86_64"
    return "an ELF file, a vmlinux perhaps, which is not what the machine boots"


def _pe_machine(data: bytes) -> str:
    (header,) = struct.unpack_from("<I", data, 0x3C) if len(data) >= 0x40 else (0,)
    if data[header : header + 4] != b"PE\0\0":
        return ""
    return _PE_MACHINES.get(_word(data, header + 4), "")
