# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""EFI executables (PE/COFF) around a kernel: unified kernel images, and EFI zboot."""

from __future__ import annotations

import struct
from typing import Final

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.compression import Buffer

_HEADER_AT: Final = 0x3C
_COFF_BYTES: Final = 24  # "PE\0\0" and IMAGE_FILE_HEADER
_SECTION: Final = struct.Struct("<8sIIII16x")
# drivers/firmware/efi/libstub/zboot-header.S: "zimg", then where the packed kernel lies, and its size.
_ZBOOT: Final = b"zimg"


def machine(data: Buffer) -> int | None:
    """Return the machine that an EFI executable is for, None where the file is none."""
    at = _header(data)
    return None if at is None else int.from_bytes(data[at + 4 : at + 6], "little")


def linux_section(data: Buffer, name: str) -> bytes | None:
    """Return the kernel of a unified kernel image, its section ``.linux``; None where the file is none.

    Raises UsageError where the file ends before it.
    """
    at = _header(data)
    if at is None:
        return None
    number, optional = struct.unpack_from("<6xH12xH", data, at)
    first = at + _COFF_BYTES + optional
    behind = min(first + number * _SECTION.size, len(data) - _SECTION.size + 1)
    for place in range(first, behind, _SECTION.size):
        label, size, _, raw_size, raw = _SECTION.unpack_from(data, place)
        if label.rstrip(b"\0") == b".linux":
            return _part(data, raw, min(size, raw_size), name)
    return None


def zboot_payload(data: Buffer, name: str) -> bytes | None:
    """Return the packed kernel of an EFI zboot image (CONFIG_EFI_ZBOOT), None where the file is none."""
    if data[:2] != b"MZ" or data[4:8] != _ZBOOT or len(data) < _HEADER_AT:
        return None
    offset, size = struct.unpack_from("<II", data, 8)
    return _part(data, offset, size, name)


def _header(data: Buffer) -> int | None:
    if data[:2] != b"MZ" or len(data) < _HEADER_AT + 4:
        return None
    (at,) = struct.unpack_from("<I", data, _HEADER_AT)
    return at if data[at : at + 4] == b"PE\0\0" and at + _COFF_BYTES <= len(data) else None


def _part(data: Buffer, start: int, size: int, name: str) -> bytes:
    if start + size > len(data):
        raise UsageError(f"{name}: cut short: its kernel should end at byte {start + size} of {len(data)}")
    return data[start : start + size]
