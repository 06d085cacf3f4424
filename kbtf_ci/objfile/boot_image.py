# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whose kernel a boot image is, from its header alone: nothing is unpacked.

Documentation/arch/x86/boot.rst has the header of x86; other architectures are told by their marks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.model.architecture import I386, IMAGE_MARKS, PE_MACHINES, X86_64, Architecture, ByteOrder, of_elf
from kbtf_ci.objfile import pe
from kbtf_ci.objfile.compression import Buffer

# The real-mode part, where the version's text is too: at most 64 sectors behind the boot sector. Others bear
# their marks up to there, s390's image the farthest.
_SETUP_BYTES: Final = 65 * 512
_HEADER_BYTES: Final = max(_SETUP_BYTES, *(at + len(magic) for at, magic, _ in IMAGE_MARKS))
_BOOT_FLAG: Final = (0x1FE, b"\x55\xaa")
_HEADER: Final = (0x202, b"HdrS")
_PROTOCOL, _KERNEL_VERSION, _XLOADFLAGS = 0x206, 0x20E, 0x236
_VERSION_BASE: Final = 0x200
_HAS_XLOADFLAGS: Final = 0x20C
_XLF_KERNEL_64: Final = 1

_WAY_OUT: Final = "name a bzImage or vmlinuz of an x86_64 kernel"


def read_release(image: Path) -> str:
    """Return the release in the boot header of an x86_64 bzImage, such as ``6.12.107+deb13-amd64``.

    Raises UsageError, naming the file, when it cannot be read, is for another architecture, or is none.
    """
    try:
        with image.open("rb") as file:
            data = file.read(_HEADER_BYTES)
    except OSError as error:
        raise file_error(error, image, "cannot be read") from error
    if not has_x86_header(data):
        raise UsageError(f"{image}: {_what_else(data)}", hint=_WAY_OUT)
    if not _is_64_bit(data):
        raise UsageError(f"{image}: a kernel for 32-bit x86", hint=_WAY_OUT)
    start = _VERSION_BASE + _word(data, _KERNEL_VERSION)
    text = data[start:].split(b"\0", 1)[0].decode("ascii", errors="replace")
    release = text.split(" ", 1)[0]
    if start == _VERSION_BASE or not release[:1].isdigit() or not release.isprintable() or "/" in release:
        raise UsageError(f"{image}: a bzImage whose header names no release", hint=_WAY_OUT)
    return release


def has_x86_header(data: Buffer) -> bool:
    """Return whether there is the boot header of x86, of a kernel in 64 bits or 32."""
    return all(data[at : at + len(magic)] == magic for at, magic in (_BOOT_FLAG, _HEADER))


def image_architecture(data: Buffer) -> Architecture | None:
    """Return the architecture that an image's header names, None where it names none.

    ELF's and EFI's headers name it, x86's and those that IMAGE_MARKS has are of one; its byte order is the
    one that is usual there, which an EFI header and a mark do not say.
    """
    if data[:4] == b"\x7fELF":
        return _of_elf(data)
    if has_x86_header(data):
        return X86_64 if _is_64_bit(data) else I386
    marked = (one for at, magic, one in IMAGE_MARKS if data[at : at + len(magic)] == magic)
    return next(marked, None) or PE_MACHINES.get(pe.machine(data) or 0)


def _of_elf(data: Buffer) -> Architecture:
    order: ByteOrder = ">" if data[5:6] == b"\x02" else "<"
    machine = int.from_bytes(data[18:20], "big" if order == ">" else "little")
    return of_elf(machine, 32 if data[4:5] == b"\x01" else 64, order)


def _word(data: Buffer, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _is_64_bit(data: Buffer) -> bool:
    """Whether a kernel with x86's boot header is one for x86_64."""
    return _word(data, _PROTOCOL) >= _HAS_XLOADFLAGS and bool(_word(data, _XLOADFLAGS) & _XLF_KERNEL_64)


def _what_else(data: bytes) -> str:
    told = image_architecture(data)
    if data[:4] == b"\x7fELF" and (told == X86_64 or told is None or not told.kernel):
        return "an ELF file, a vmlinux perhaps, which is not what the machine boots"
    if told is not None and told != X86_64:
        return f"a kernel for {told.name}, not x86_64"
    return "not a kernel that x86_64 boots (no boot header)"
