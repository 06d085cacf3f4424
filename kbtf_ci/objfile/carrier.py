# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Carriers: modules rebuilt with nothing in them but what the kernel reads before and for their BTF.

An ET_REL file of ``.gnu.linkonce.this_module`` without its relocations (so no init or exit function),
``.modinfo``, ``__versions``, ``.BTF``, ``.BTF.base``, an empty symbol table, and without contents what the
architecture's loader lays stubs in. It has no text and needs no other module; btf_module_notify()
(kernel/bpf/btf.c) sees the bytes that it would see in the whole module.
What must be in it: kernel/module/main.c, elf_validity_cache_copy() and check_modinfo().
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.compression import Buffer
from kbtf_ci.objfile.elf import SHT_NOBITS, ElfImage

# By the bytes of an address: Ehdr, Shdr and the size of Sym, as in elf(5).
_TABLES: Final = {4: ("16sHHIIIIIHHHHHH", "IIIIIIIIII", 16), 8: ("16sHHIQQQIHHHHHH", "IIQQQQIIQQ", 24)}
_ET_REL: Final = 1
_IDENT: Final = slice(0, 7)  # magic, class, byte order, version
_PROGBITS, _SYMTAB, _STRTAB = 1, 2, 3
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4

_THIS_MODULE: Final = ".gnu.linkonce.this_module"
# struct module is ____cacheline_aligned: 64 bytes nearly everywhere, of ppc64 128, of s390x 256.
_CACHE_LINE: Final = 256
# What the loader of arm, arm64, riscv or powerpc insists on (module_frob_arch_sections(), and of arm64
# module_finalize()); they come from arch/*/include/asm/module.lds.h. A module has those of its kernel.
_STUBS: Final = (
    ".plt",
    ".init.plt",
    ".got",
    ".got.plt",
    ".plt.idx",
    ".text.ftrace_trampoline",
    ".init.text.ftrace_trampoline",
    ".stubs",
    ".init.stubs",
    ".tramp.ftrace.text",
    ".tramp.ftrace.init",
)
# struct modversion_info (include/linux/module.h): unsigned long crc, char name[64 - sizeof(unsigned long)].
_VERSION_BYTES: Final = 64
_LAYOUT_VERSION: Final = b"module_layout\0"
# What the kernel asks .modinfo for before it comes to the BTF; what it may print as well.
_KEPT_INFO: Final = frozenset({b"name", b"vermagic", b"license", b"intree", b"retpoline"})
# struct module's char name[MODULE_NAME_LEN] and an unsigned long together (include/linux/moduleparam.h).
_NAME_AND_LONG: Final = 64


@dataclass(frozen=True)
class _Section:
    """One section of a carrier."""

    name: str
    kind: int
    data: bytes
    flags: int = 0
    align: int = 1
    link: int = 0
    info: int = 0
    entry: int = 0


def make_carrier(
    module: Buffer,
    *,
    label: str = "the module",
    name: str | None = None,
    btf: bytes | None = None,
    base: bytes | None = None,
    without_btf: bool = False,
    struct_bytes: int | None = None,
) -> bytes:
    """Return the carrier of a module's BTF, or of ``btf`` and ``base`` in the place of its own.

    ``module`` is an unpacked ``.ko`` of either class and byte order, which are the carrier's too, called
    ``label`` in messages. ``name`` is another module's name for it to go by. Given ``btf`` without ``base``,
    the carrier has no ``.BTF.base``; ``without_btf`` it has no ``.BTF`` either. ``struct_bytes`` is another
    size of struct module than the kernel's. Raises UsageError for what is no module, and for a name that
    cannot be given.
    """
    return carrier_of(
        ElfImage(module, label),
        label=label,
        name=name,
        btf=btf,
        base=base,
        without_btf=without_btf,
        struct_bytes=struct_bytes,
    )


def carrier_of(
    image: ElfImage,
    *,
    label: str = "the module",
    name: str | None = None,
    btf: bytes | None = None,
    base: bytes | None = None,
    without_btf: bool = False,
    struct_bytes: int | None = None,
) -> bytes:
    """Return the carrier of a module that is open, as make_carrier()."""
    if image.type != "ET_REL":
        raise UsageError(f"{label}: not a kernel module: its ELF type is {image.type}, not ET_REL")
    this = _required(image, _THIS_MODULE, label)
    info = _modinfo(_required(image, ".modinfo", label))
    if name is not None:
        this, info = _renamed(image, this, info, name.encode(), label)
    if struct_bytes is not None:
        this = this[:struct_bytes].ljust(struct_bytes, b"\0")
    sections = [
        _Section(_THIS_MODULE, _PROGBITS, this, _WRITE | _ALLOC, _CACHE_LINE),
        *_stubs(image),
        _Section(".modinfo", _PROGBITS, b"".join(entry + b"\0" for entry in info), _ALLOC),
        *_versions(image),
        *([] if without_btf else _btf_sections(image, btf, base)),
    ]
    return _assembled(image, sections)


def _required(image: ElfImage, name: str, label: str) -> bytes:
    data = image.section(name)
    if not data:
        raise UsageError(f"{label}: not a kernel module: it has no {name} section")
    return data


def _modinfo(data: bytes) -> list[bytes]:
    return [entry for entry in data.split(b"\0") if entry.partition(b"=")[0] in _KEPT_INFO]


def _renamed(
    image: ElfImage, this: bytes, info: list[bytes], name: bytes, label: str
) -> tuple[bytes, list[bytes]]:
    """Return struct module and .modinfo with another name.

    The bytes of struct module before its name are zero in the file, and so are those behind it in its array.
    """
    room = _NAME_AND_LONG - image.pointer_bytes
    if not 0 < len(name) < room or b"/" in name or b"\0" in name:
        raise UsageError(f"{name.decode(errors='replace')!r} cannot be a module's name")
    old = next((entry[len(b"name=") :] for entry in info if entry.startswith(b"name=")), b"")
    start = this.find(old + b"\0") if old else -1
    if start < 0:
        raise UsageError(f"{label}: its name= in .modinfo is not in its struct module")
    renamed = this[:start] + name.ljust(room, b"\0") + this[start + room :]
    return renamed, [b"name=" + name if entry.startswith(b"name=") else entry for entry in info]


def _versions(image: ElfImage) -> list[_Section]:
    """Return ``__versions`` with its entry for module_layout alone, as no other symbol is asked for.

    With CONFIG_MODVERSIONS a module without it is loaded by force or not at all, and its vermagic is
    compared whole (kernel/module/version.c, check_modstruct_version() and same_magic()).
    """
    data = image.section("__versions") or b""
    at = data.find(_LAYOUT_VERSION) // _VERSION_BYTES * _VERSION_BYTES
    entry = data[at : at + _VERSION_BYTES] if at >= 0 else b""
    return [_Section("__versions", _PROGBITS, entry, _ALLOC, 8)] if entry else []


def _stubs(image: ElfImage) -> list[_Section]:
    """Return what the loader would lay stubs in: none, or a byte, as linkers leave it where there are none.

    Of what has no bytes in the file the loader makes as many as it needs, and reads none of them.
    """
    found = ((name, image.find(name)) for name in _STUBS)
    return [
        _Section(name, section.type, b"" if section.type == SHT_NOBITS else b"\0", _ALLOC | _EXECUTE, 8)
        for name, section in found
        if section is not None
    ]


def _btf_sections(image: ElfImage, btf: bytes | None, base: bytes | None) -> list[_Section]:
    if btf is None:
        btf, base = image.section(".BTF"), base if base is not None else image.section(".BTF.base")
    pairs = ((".BTF", btf), (".BTF.base", base))
    return [_Section(name, _PROGBITS, data, 0, 4) for name, data in pairs if data is not None]


def _assembled(image: ElfImage, sections: list[_Section]) -> bytes:
    order = image.byte_order
    ehdr, shdr, symbol_bytes = _TABLES[image.pointer_bytes]
    header, row = struct.Struct(order + ehdr), struct.Struct(order + shdr)
    count = 1 + len(sections)
    whole = [
        *sections,
        _Section(
            ".symtab", _SYMTAB, bytes(symbol_bytes), align=8, link=count + 1, info=1, entry=symbol_bytes
        ),
        _Section(".strtab", _STRTAB, b"\0"),
    ]
    names = b"\0" + b"".join(section.name.encode() + b"\0" for section in whole) + b".shstrtab\0"
    whole.append(_Section(".shstrtab", _STRTAB, names))
    parts, table, at, name_at = [b""], [bytes(row.size)], header.size, 1
    for section in whole:
        padding = -at % section.align
        at += padding
        parts += [bytes(padding), section.data]
        table.append(
            row.pack(
                name_at, section.kind, section.flags, 0, at, len(section.data), section.link, section.info,
                section.align, section.entry,
            )
        )  # fmt: skip
        at += len(section.data)
        name_at += len(section.name) + 1
    padding = -at % 8
    parts[0] = header.pack(
        image.data[_IDENT], _ET_REL, image.machine, 1, 0, 0, at + padding, image.flags, header.size, 0, 0,
        row.size, len(table), len(table) - 1,
    )  # fmt: skip
    return b"".join([*parts, bytes(padding), *table])
