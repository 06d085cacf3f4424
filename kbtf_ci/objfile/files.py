# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules and kernels as files: what the BTF check needs of each.

read_module_file() and read_kernel_file() take a path, parse_module() and parse_kernel() the bytes that were
in it; whatever those bytes are, only UsageError comes out.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kbtf_ci.errors import UsageError
from kbtf_ci.model.architecture import Architecture, ByteOrder, of_elf
from kbtf_ci.objfile.banner import embedded_config, linux_banner
from kbtf_ci.objfile.boot_image import image_architecture
from kbtf_ci.objfile.compression import Buffer, load, unpack
from kbtf_ci.objfile.elf import (
    MODULE_LIMIT,
    SHT_NOBITS,
    SHT_SYMTAB,
    ElfImage,
    dependencies,
    modinfo,
    module_name,
)
from kbtf_ci.objfile.flat_btf import find_btf
from kbtf_ci.objfile.kernel_image import kernel_in, packed_kernel

KERNEL_LIMIT = 1 << 30  # bytes of an unpacked vmlinux; a distribution's with DWARF has 400 MB

SIGNATURE = b"~Module signature appended~\n"  # MODULE_SIG_STRING, include/linux/module_signature.h
_THIS_MODULE = ".gnu.linkonce.this_module"
_BTF_MAGIC: Mapping[bytes, ByteOrder] = {b"\x9f\xeb": "<", b"\xeb\x9f": ">"}  # BTF_MAGIC
_BTF_HEADER_BYTES = 24
_ELF = b"\x7fELF"
_EXECUTABLES = ("ET_EXEC", "ET_DYN")
_NT_GNU_BUILD_ID = 3
_XEN_ELFNOTE_PHYS32_ENTRY = 18  # include/xen/interface/elfnote.h

# Proposed (Alan Maguire, bpf@vger.kernel.org, 8 October 2025): split BTF for locations of inlined functions.
EXTRA = ".BTF.extra"
# CONFIG_DEBUG_INFO_BTF=m, proposed (bpf@vger.kernel.org, 23 September 2026): the module of this name carries
# vmlinux's BTF; in vmlinux stay its size (u32, the kernel's byte order) and SHA-256.
BTF_MODULE = "btf_vmlinux"
_META = ".BTF.meta"
_META_BYTES = 36
_ONE_BUILD = "name kernel and modules of one build"

_WAY_OUT = "name an unstripped vmlinux, or /sys/kernel/btf/vmlinux of the running kernel"


class WithoutBtfError(UsageError):
    """A kernel that was read and has no BTF: there is nothing that its modules could be held to."""


@dataclass(frozen=True)
class ModuleFile:
    """One module, compressed or not, as the kernel's module loader would find it.

    ``name`` is the kernel's own. ``btf`` and ``base`` are the bytes of ``.BTF`` and ``.BTF.base`` as they lie
    in the file: None where there is no such section, empty where it is empty. ``modinfo`` has the first value
    of each key, as get_modinfo() takes it, and ``vermagic`` is one of them. ``this_module_bytes`` is the size
    of ``struct module`` that it was built for, ``init_offset`` and ``exit_offset`` are where in it the
    pointers to init_module() and cleanup_module() go, in bytes; None where the file does not say.
    ``btf_ids_bytes`` is the size of ``.BTF_ids``, ``extra_bytes`` of ``.BTF.extra``, 0 for none. ``image``
    is the file, unpacked. ``raw``: the file is split BTF alone, of which nothing but ``btf`` is known.
    ``architecture`` is the one that the ELF header names.
    """

    path: Path
    name: str
    btf: bytes | None
    base: bytes | None
    vermagic: str
    modinfo: Mapping[str, str]
    depends: tuple[str, ...]
    this_module_bytes: int | None
    init_offset: int | None
    exit_offset: int | None
    btf_ids_bytes: int
    signed: bool
    has_symbols: bool
    image: ElfImage | None = field(default=None, repr=False, compare=False)
    raw: bool = False
    extra_bytes: int = 0
    architecture: Architecture | None = None


@dataclass(frozen=True)
class KernelFile:
    """One kernel: the BTF that its modules' BTF is written against, and who it says it is.

    ``kind`` is ``vmlinux``, ``bzImage`` (whatever carries a compressed vmlinux), ``image`` (a flat image, by
    itself or in whatever carries it, which knows no build id), ``raw`` (BTF alone) or ``module``
    (btf_vmlinux.ko, which knows of the kernel only its release and the size of pointers).
    ``extra_bytes`` is the size of ``.BTF.extra``, 0 for none.
    ``banner`` is linux_banner without its newline and ``release`` the version in it; ``config`` the embedded
    configuration, values as in a .config file (``y``, ``m``, ``"text"``), None where there is none;
    ``build_id`` in hex; ``pointer_bytes`` 4 or 8, by the architecture. ``architecture`` is the one that the
    ELF or image header names. Raw BTF knows none of these: they are empty or None. ``byte_order`` is the
    kernel's, by its ELF file or else by the BTF.
    """

    path: Path
    btf: bytes
    release: str
    banner: str
    config: Mapping[str, str] | None
    kind: str
    build_id: str
    pointer_bytes: int | None = None
    extra_bytes: int = 0
    byte_order: ByteOrder | None = None
    architecture: Architecture | None = None


def read_module_file(path: Path) -> ModuleFile:
    """Return what the module at ``path`` says; raises UsageError as parse_module() and load() do."""
    return parse_module(load(path, MODULE_LIMIT), path)


def parse_module(data: Buffer, path: Path) -> ModuleFile:
    """Return what a module says, compressed or not, told by its magic; ``path`` names it.

    Raw split BTF, such as a copy of ``/sys/kernel/btf/xfs``, is a module of the file's name. Raises
    UsageError when it cannot be unpacked, is no readable ELF file, or is not of type ET_REL.
    """
    data = unpack(data, str(path), MODULE_LIMIT)
    if data[:2] in _BTF_MAGIC:
        return _raw_module(_raw_btf(data, path), path)
    image = ElfImage(data, str(path))
    if image.type != "ET_REL":
        raise UsageError(f"{path}: not a kernel module: its ELF type is {image.type}, not ET_REL")
    info = modinfo(image.section(".modinfo") or b"")
    this_module = image.find(_THIS_MODULE)
    slots = image.relocated_slots(_THIS_MODULE)
    return ModuleFile(
        path=path,
        name=module_name(info, path.name),
        btf=image.section(".BTF"),
        base=image.section(".BTF.base"),
        vermagic=info.get("vermagic", ""),
        modinfo=info,
        depends=dependencies(info),
        this_module_bytes=this_module.size if this_module else None,
        init_offset=slots.get("init_module"),
        exit_offset=slots.get("cleanup_module"),
        btf_ids_bytes=_size(image, ".BTF_ids"),
        extra_bytes=_size(image, EXTRA),
        signed=data[-len(SIGNATURE) :] == SIGNATURE,
        has_symbols=image.has_type(SHT_SYMTAB),
        image=image,
        architecture=image.architecture,
    )


def _size(image: ElfImage, name: str) -> int:
    section = image.find(name)
    return section.size if section else 0


def _raw_btf(data: Buffer, path: Path) -> bytes:
    if len(data) < _BTF_HEADER_BYTES:
        raise UsageError(f"{path}: raw BTF cut short: {len(data)} bytes, its header has {_BTF_HEADER_BYTES}")
    return data[:]


def _raw_module(btf: bytes, path: Path) -> ModuleFile:
    return ModuleFile(
        path=path,
        name=module_name({}, path.name.removesuffix(".btf")),
        btf=btf,
        base=None,
        vermagic="",
        modinfo={},
        depends=(),
        this_module_bytes=None,
        init_offset=None,
        exit_offset=None,
        btf_ids_bytes=0,
        signed=False,
        has_symbols=False,
        raw=True,
    )


def read_kernel_file(path: Path) -> KernelFile:
    """Return what the kernel at ``path`` says; raises UsageError as open_kernel()."""
    return open_kernel(path).file


def parse_kernel(data: Buffer, path: Path) -> KernelFile:
    """Return what a kernel says: a vmlinux, a boot image of any architecture, or raw BTF; ``path`` names it.

    Raises UsageError when it is none of these, or when it cannot be unpacked, WithoutBtfError when it has no
    BTF.
    """
    return _opened(data, path).file


@dataclass(frozen=True)
class OpenKernel:
    """A kernel's file while it is open; ``vmlinux`` is the ELF file that it is or carries, None: no ELF."""

    file: KernelFile
    vmlinux: ElfImage | None


def open_kernel(path: Path, btf_module: Path | None = None) -> OpenKernel:
    """Return the kernel at ``path``, unpacked once. Raises UsageError as parse_kernel() and load() do.

    Where it has no BTF, as with CONFIG_DEBUG_INFO_BTF=m, it is that of ``btf_module``, the btf_vmlinux.ko of
    its modules; UsageError where that is another kernel's.
    """
    return _opened(load(path, KERNEL_LIMIT), path, btf_module)


def _opened(data: Buffer, path: Path, btf_module: Path | None = None) -> OpenKernel:
    data = unpack(data, str(path), KERNEL_LIMIT)
    if data[:2] in _BTF_MAGIC:
        btf = _raw_btf(data, path)
        return OpenKernel(
            KernelFile(path, btf, "", "", None, "raw", "", byte_order=_BTF_MAGIC[btf[:2]]), None
        )
    kind, inside = "vmlinux", data
    if data[:4] != _ELF:
        kind, inside = "bzImage", kernel_in(data, str(path), KERNEL_LIMIT)
    elif (wrapped := _wrapped(data, path)) is not None:
        kind, inside = "bzImage", wrapped
    if inside[:4] != _ELF:
        architecture = image_architecture(inside) or image_architecture(data)
        return OpenKernel(_flat_kernel(inside, architecture, path, btf_module), None)
    image = ElfImage(inside, str(path))
    if image.type == "ET_REL" and _is_btf_module(image, path):
        return OpenKernel(_kernel_of_module(image, path), None)
    if image.type not in _EXECUTABLES:
        raise UsageError(f"{path}: not a kernel: its ELF type is {image.type}", hint=_WAY_OUT)
    return OpenKernel(_kernel_file(image, kind, path, btf_module), image)


def _wrapped(data: Buffer, path: Path) -> bytes | None:
    """Return the kernel in an ELF file that only unpacks it, as mips' vmlinuz and powerpc's zImage do."""
    image = ElfImage(data, str(path))
    if image.type not in _EXECUTABLES or image.find(".BTF") or image.find(_META) or linux_banner(data):
        return None
    return packed_kernel(data, str(path), KERNEL_LIMIT)


def _flat_kernel(
    data: Buffer, architecture: Architecture | None, path: Path, btf_module: Path | None
) -> KernelFile:
    """Return what a flat image says of its kernel."""
    banner = linux_banner(data)
    release = banner.split()[2] if banner else ""
    btf = find_btf(data)
    if btf is None and btf_module is not None:
        btf = _btf_of_module(None, release, path, btf_module)
    if btf is None:
        raise _without_btf(path, f"{release or 'no version told'}, and none lies in its image")
    order = _BTF_MAGIC[btf[:2]]
    if architecture is not None:
        architecture = of_elf(architecture.machine, architecture.bits, order)
    return KernelFile(
        path=path,
        btf=btf,
        release=release,
        banner=banner,
        config=embedded_config(data, str(path)),
        kind="image",
        build_id="",
        pointer_bytes=architecture.bits // 8 if architecture else None,
        byte_order=order,
        architecture=architecture,
    )


def _without_btf(path: Path, why: str) -> WithoutBtfError:
    return WithoutBtfError(
        f"{path}: a kernel without BTF: {why}", hint="build it with CONFIG_DEBUG_INFO_BTF=y"
    )


def _is_btf_module(image: ElfImage, path: Path) -> bool:
    return module_name(modinfo(image.section(".modinfo") or b""), path.name) == BTF_MODULE


def _kernel_of_module(image: ElfImage, path: Path) -> KernelFile:
    """Return what btf_vmlinux.ko says of its kernel."""
    btf = _kernel_btf(image, path)
    words = modinfo(image.section(".modinfo") or b"").get("vermagic", "").split()
    return KernelFile(
        path, btf, words[0] if words else "", "", None, "module", "", image.pointer_bytes,
        byte_order=image.byte_order, architecture=image.architecture,
    )  # fmt: skip


def _btf_of_module(kernel: ElfImage | None, release: str, path: Path, btf_module: Path) -> bytes:
    """Return the BTF that a kernel without any takes from btf_vmlinux.ko. UsageError where it would not."""
    found = open_kernel(btf_module).file
    meta = kernel.section(_META) or b"" if kernel else b""
    if kernel and len(meta) == _META_BYTES:
        (size,) = struct.unpack_from(f"{kernel.byte_order}I", meta)
        if (size, meta[4:]) != (len(found.btf), hashlib.sha256(found.btf).digest()):
            raise UsageError(
                f"{btf_module}: its .BTF ({len(found.btf):,} bytes) is not the one that {_META} of {path} "
                f"wants ({size:,} bytes, SHA-256 {meta[4:12].hex()}...)",
                hint=_ONE_BUILD,
            )
    if found.release and release and found.release != release:
        raise UsageError(f"{btf_module}: of {found.release}, and {path} is {release}", hint=_ONE_BUILD)
    return found.btf


def _kernel_file(image: ElfImage, kind: str, path: Path, btf_module: Path | None) -> KernelFile:
    start, end = _read_only_data(image)
    banner = linux_banner(image.data, start, end)
    release = banner.split()[2] if banner else ""
    section = image.find(".BTF")
    if btf_module is not None and (section is None or section.size == 0):
        btf = _btf_of_module(image, release, path, btf_module)
    else:
        btf = _kernel_btf(image, path)
    return KernelFile(
        path=path,
        btf=btf,
        release=release,
        banner=banner,
        config=embedded_config(image.data, str(path), start, end),
        kind=kind,
        build_id=next((note.hex() for note in _notes(image, b"GNU\0", _NT_GNU_BUILD_ID)), ""),
        pointer_bytes=image.pointer_bytes,
        extra_bytes=_size(image, EXTRA),
        byte_order=image.byte_order,
        architecture=image.architecture,
    )


def boots_by_pvh(vmlinux: ElfImage) -> bool:
    """Return whether QEMU can start a vmlinux as it is: its notes name an entry in 32-bit physical mode.

    CONFIG_PVH; arch/x86/platform/pvh/head.S, XEN_ELFNOTE_PHYS32_ENTRY.
    """
    return any(_notes(vmlinux, b"Xen\0", _XEN_ELFNOTE_PHYS32_ENTRY))


def _kernel_btf(image: ElfImage, path: Path) -> bytes:
    section = image.find(".BTF")
    if (section is None or section.size == 0) and image.find(_META) is not None:
        raise UsageError(
            f"{path}: a kernel of CONFIG_DEBUG_INFO_BTF=m, whose BTF is in {BTF_MODULE}.ko",
            hint=f"check it with the folder of its modules, or name {BTF_MODULE}.ko itself as --vmlinux",
        )
    if section is None or section.size == 0:
        raise _without_btf(path, "it has no .BTF section")
    if section.type == SHT_NOBITS:
        raise UsageError(f"{path}: a debug file, its .BTF section (NOBITS) holds no bytes", hint=_WAY_OUT)
    return image.section(".BTF") or b""


def _read_only_data(image: ElfImage) -> tuple[int, int]:
    """Return from where to where constants lie in the file; all of it where no section is named so."""
    section = image.find(".rodata")
    if section is None or section.type == SHT_NOBITS:
        return 0, len(image.data)
    return section.offset, section.offset + section.size


def _notes(image: ElfImage, owner: bytes, kind: int) -> Iterator[bytes]:
    """Yield what ``.notes`` says under an owner's name (with its NUL) and a number: elf(5), Nhdr."""
    section = image.find(".notes")
    data = b"" if section is None or section.type == SHT_NOBITS else image.section(".notes") or b""
    header = struct.Struct(f"{image.byte_order}III")
    position = 0
    while position + header.size <= len(data):
        name_bytes, bytes_, number = header.unpack_from(data, position)
        name = position + header.size
        start = name + -(-name_bytes // 4) * 4
        if number == kind and data[name : name + name_bytes] == owner:
            yield data[start : start + bytes_]
        position = start + -(-bytes_ // 4) * 4
