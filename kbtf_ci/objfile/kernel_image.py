# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel inside a boot image of any architecture: an ELF vmlinux, or a flat image of its memory."""

from __future__ import annotations

from collections.abc import Iterator

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile import pe
from kbtf_ci.objfile.banner import linux_banner
from kbtf_ci.objfile.boot_image import image_architecture
from kbtf_ci.objfile.compression import (
    FORMATS,
    LZO,
    Buffer,
    Format,
    begin,
    decompress,
    first_bytes,
    format_of,
    unpack,
)
from kbtf_ci.objfile.flat_btf import find_btf

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
_ELF_HEAD = 20  # up to e_type and e_machine
_RELOCATABLE = (b"\1\0", b"\0\1")  # e_type ET_REL in either byte order: a module, never a kernel
# Places worth a try in one image: chance alone makes a handful of three-byte magics in 100 MB.
_TRIES = 500
_BROKEN_BYTES = 1 << 20  # what breaks behind so many bytes was packed once, and is no chance


def kernel_in(data: Buffer, name: str, limit: int) -> Buffer:
    """Return the ELF vmlinux or the flat image that a boot image carries, at most ``limit`` bytes of it.

    A unified kernel image says where it is, so does EFI zboot, and an x86 image's boot header. In any other
    image it is looked for: BTF in the image as it is, then by magic what is packed, as
    scripts/extract-vmlinux does. ``name`` is for messages. Raises UsageError when there is none, or when it
    cannot be unpacked.
    """
    data = _unified(data, name, limit)
    payload = _zboot(data, name, limit)
    if payload is not None:
        return payload
    payload = _x86_payload(data, name)
    if payload is not None:
        form = None if _is_vmlinux(payload) else format_of(payload)
        return _checked(payload if form is None else decompress(payload, form, name, limit), name)
    if _is_vmlinux(data[:_ELF_HEAD]) or find_btf(data) is not None:
        return data
    found = packed_kernel(data, name, limit)
    if found is None and linux_banner(data):
        return data
    if found is None:
        raise _no_kernel(data, name)
    return found


def unwrapped(data: Buffer, name: str, limit: int) -> Buffer:
    """Return the boot image inside a unified kernel image or EFI zboot, ``data`` itself where it is neither.

    Those are for firmware to start: who boots a kernel without any hands over what is inside. Raises
    UsageError as kernel_in().
    """
    data = _unified(data, name, limit)
    payload = _zboot(data, name, limit)
    return data if payload is None else payload


def _unified(data: Buffer, name: str, limit: int) -> Buffer:
    """Return the kernel in a unified kernel image, ``data`` itself where it is none."""
    inside = pe.linux_section(data, name)
    return data if inside is None else unpack(inside, name, limit)


def _zboot(data: Buffer, name: str, limit: int) -> Buffer | None:
    """Return the flat image in EFI zboot, None where ``data`` is something else."""
    payload = pe.zboot_payload(data, name)
    return None if payload is None else unpack(payload, name, limit)


def packed_kernel(data: Buffer, name: str, limit: int) -> bytes | None:
    """Return the kernel that is packed somewhere in ``data``, None where none is; ELF before flat ones.

    Raises UsageError where it is there and cannot be unpacked.
    """
    for position, form in _candidates(data):
        rest = memoryview(data)[position:]
        if _is_vmlinux(first_bytes(rest, form, _ELF_HEAD)):
            return decompress(rest, form, name, limit)
    return _packed_flat(data, name, limit)


def _packed_flat(data: Buffer, name: str, limit: int) -> bytes | None:
    """Return the first of what is packed there that has a kernel's BTF or version, within ``limit`` bytes."""
    broken: UsageError | None = None
    left = limit
    for position, form in _candidates(data):
        output, fault = begin(memoryview(data)[position:], form, left)
        left -= len(output)
        if fault and len(output) >= _BROKEN_BYTES:
            broken = broken or UsageError(f"{name}: cannot be unpacked as {form.name}: {fault}")
        elif not fault and (find_btf(output) is not None or linux_banner(output)):
            return output
        if left <= 0:
            break
    if broken is not None:
        raise broken
    return None


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
    if not _is_vmlinux(vmlinux):
        raise UsageError(f"{name}: a bzImage whose payload is no ELF vmlinux")
    return vmlinux


def _is_vmlinux(head: bytes) -> bool:
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
    told = image_architecture(data)
    if data.find(LZO.magic) >= 0:
        what = "a kernel packed with LZO, which is not supported"
    elif told is not None:
        what = f"a boot image for {told.name} with neither a version nor BTF in it"
    else:
        what = "not a vmlinux, a boot image or raw BTF"
    return UsageError(
        f"{name}: {what}",
        hint="name the build's vmlinux, or /sys/kernel/btf/vmlinux of the running kernel",
    )
