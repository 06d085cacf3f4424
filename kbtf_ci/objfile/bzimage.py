# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The vmlinux inside a compressed kernel image."""

from __future__ import annotations

from collections.abc import Iterator

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.compression import FORMATS, LZO, Buffer, Format, decompress, first_bytes, format_of

# Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header"
_SETUP_SECTS = 0x1F1
_HEADER_MAGIC = 0x202
_VERSION = 0x206
_PAYLOAD_OFFSET = 0x248
_PAYLOAD_LENGTH = 0x24C
_HEADER_END = 0x250
_PAYLOAD_SINCE = 0x0208  # the boot protocol that brought payload_offset
_SECTOR = 512

_ELF = b"\x7fELF"
_RELOCATABLE = (b"\1\0", b"\0\1")  # e_type ET_REL in either byte order: a module, never a kernel
# At offset 56 of the images that boot as they are: arch/{arm64,riscv}/include/asm/image.h
_FLAT_IMAGES = {b"ARM\x64": "an arm64 Image", b"RSC\x05": "a RISC-V Image"}
# Places worth a try in one image: chance alone makes a handful of three-byte magics in 100 MB.
_TRIES = 500


def embedded_vmlinux(data: Buffer, name: str, limit: int) -> bytes:
    """Return the ELF vmlinux that a kernel image carries, at most ``limit`` bytes of it.

    An x86 image's boot header says where it is; in any other image it is looked for by magic, as
    scripts/extract-vmlinux does. ``name`` is for messages. Raises UsageError when there is none,
    or when it cannot be unpacked.
    """
    payload = _x86_payload(data, name)
    if payload is not None:
        if _is_kernel(payload):
            return payload
        form = format_of(payload)
        if form is not None:
            return _checked(decompress(payload, form, name, limit), name)
    for position, form in _candidates(data):
        rest = memoryview(data)[position:]
        if _is_kernel(first_bytes(rest, form)):
            return decompress(rest, form, name, limit)
    raise _no_kernel(data, name)


def _x86_payload(data: Buffer, name: str) -> bytes | None:
    """Return the payload that the x86 boot header names, None where there is no header that names one."""
    if len(data) < _HEADER_END or data[_HEADER_MAGIC:_VERSION] != b"HdrS":
        return None
    if _number(data, _VERSION, 2) < _PAYLOAD_SINCE:
        return None
    # "if this field is 0, the real value is 4"
    setup = (data[_SETUP_SECTS] or 4) + 1
    start = setup * _SECTOR + _number(data, _PAYLOAD_OFFSET, 4)
    end = start + _number(data, _PAYLOAD_LENGTH, 4)
    if end > len(data):
        raise UsageError(f"{name}: cut short: its kernel should end at byte {end} of {len(data)}")
    return data[start:end]


def _number(data: Buffer, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def _checked(vmlinux: bytes, name: str) -> bytes:
    if not _is_kernel(vmlinux):
        raise UsageError(f"{name}: a bzImage whose payload is no ELF vmlinux")
    return vmlinux


def _is_kernel(head: bytes) -> bool:
    return head.startswith(_ELF) and head[16:18] not in _RELOCATABLE


def _candidates(data: Buffer) -> Iterator[tuple[int, Format]]:
    tries = 0
    for form in FORMATS:
        position = data.find(form.magic)
        while position >= 0 and tries < _TRIES:
            yield position, form
            tries += 1
            position = data.find(form.magic, position + 1)


def _no_kernel(data: Buffer, name: str) -> UsageError:
    kind = _FLAT_IMAGES.get(data[56:60])
    if kind is None and data.find(LZO.magic) >= 0:
        kind = "a kernel packed with LZO, which is not supported"
    return UsageError(
        f"{name}: {kind}, no ELF vmlinux in it" if kind else f"{name}: not a vmlinux, a bzImage or raw BTF",
        hint="name the build's vmlinux, or /sys/kernel/btf/vmlinux of the running kernel",
    )
