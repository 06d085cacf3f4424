# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""ELF files of either class and byte order, and kernels around them, made byte by byte."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import lz4.block
import lz4.frame
import zstandard

NULL, PROGBITS, SYMTAB, STRTAB, RELA, NOBITS = 0, 1, 2, 3, 4, 8
REL, EXEC = 1, 2


@dataclass(frozen=True)
class Part:
    """A section; ``offset`` and ``size`` are what the table claims where they are given."""

    name: str
    data: bytes = b""
    type: int = PROGBITS
    link: int = 0
    offset: int | None = None
    size: int | None = None


def build(
    parts: Iterable[Part],
    *,
    bits: int = 64,
    order: str = "<",
    kind: int = REL,
    machine: int | None = None,
    header: Mapping[str, int] | None = None,
) -> bytes:
    """Return an ELF file of ``parts``, numbered from 1; ``header`` overrides what it says of its table.

    Without ``machine`` it is x86's of that class.
    """
    if machine is None:
        machine = 62 if bits == 64 else 3
    names, body = bytearray(b"\0"), bytearray()
    start = 64 if bits == 64 else 52
    section = struct.Struct(order + ("IIQQQQIIQQ" if bits == 64 else "IIIIIIIIII"))
    rows = [section.pack(*[0] * 10)]
    parts = [*parts, Part(".shstrtab", type=STRTAB)]
    for part in parts:
        name = len(names)
        names += part.name.encode() + b"\0"
        data = bytes(names) if part.name == ".shstrtab" else part.data
        offset = start + len(body) if part.offset is None else part.offset
        size = len(data) if part.size is None else part.size
        rows.append(section.pack(name, part.type, 0, 0, offset, size, part.link, 0, 1, 0))
        body += b"" if part.type == NOBITS else data
    fields = {
        "e_shoff": start + len(body), "e_shentsize": section.size, "e_shnum": len(rows),
        "e_shstrndx": len(rows) - 1, **(header or {}),
    }  # fmt: skip
    ident = bytes([0x7F, *b"ELF", 2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    packed = struct.pack(
        order + ("16sHHIQQQIHHHHHH" if bits == 64 else "16sHHIIIIIHHHHHH"),
        ident, kind, machine, 1, 0, 0, fields["e_shoff"], 0, start, 0, 0,
        fields["e_shentsize"], fields["e_shnum"], fields["e_shstrndx"],
    )  # fmt: skip
    return packed + bytes(body) + b"".join(rows)


MODINFO = b"vermagic=6.12.0 SMP \0license=GPL\0name=ext_four\0depends=mb-cache,jbd2\0license=BSD\0"


def module(
    *,
    bits: int = 64,
    order: str = "<",
    btf: bytes | None = b"\x9f\xeb\x01\0split",
    base: bytes | None = b"\x9f\xeb\x01\0base",
    modinfo: bytes = MODINFO,
    tail: bytes = b"",
    machine: int | None = None,
    btf_ids: bytes = bytes(24),
) -> bytes:
    """Return a module with everything that a ModuleFile tells: init's pointer at 0x138, exit's at 0x4b0.

    Without the sections whose bytes are None.
    """
    strings = b"\0init_module\0cleanup_module\0"
    word, shift = ("Q", 32) if bits == 64 else ("I", 8)
    slots = ((0x138, 1), (0x4B0, 2))
    kind = 1
    if (machine, bits, order) == (8, 64, "<"):
        shift, kind = 0, 1 << 56  # a struct on MIPS, the symbol's word first
    infos = [(at, symbol << shift | kind) for at, symbol in slots]
    relocations = b"".join(struct.pack(f"{order}3{word}", at, info, 0) for at, info in infos)
    rest = 20 if bits == 64 else 12
    symbols = b"".join(struct.pack(f"{order}I{rest}x", name) for name in (0, 1, 13))
    return (
        build(
            [
                Part(".modinfo", modinfo),
                Part(".gnu.linkonce.this_module", bytes(0x500)),
                Part(".rela.gnu.linkonce.this_module", relocations, RELA, link=4),
                Part(".symtab", symbols, SYMTAB, link=5),
                Part(".strtab", strings, STRTAB),
                *([Part(".BTF", btf)] if btf is not None else []),
                *([Part(".BTF.base", base)] if base is not None else []),
                Part(".BTF_ids", btf_ids),
            ],
            bits=bits,
            order=order,
            machine=machine,
        )
        + tail
    )


BANNER = "Linux version 6.12.107+deb13-amd64 (builder@host) (gcc 14.2.0) #1 SMP Debian 6.12.107-1"
CONFIG = b'# a comment\nCONFIG_SMP=y\n# CONFIG_EXT4 is not set\nCONFIG_XFS=m\nCONFIG_LOCALVERSION="-x"\n'
BUILD_ID = bytes(range(20))


def vmlinux(
    btf: bytes = b"\x9f\xeb\x01\0base",
    *,
    bits: int = 64,
    order: str = "<",
    config: bytes | None = CONFIG,
    pad: bytes = b"",
    machine: int | None = None,
) -> bytes:
    """Return a vmlinux with a banner, a build id behind another note, ``btf``, and ``pad`` for its size."""
    notes = struct.pack(f"{order}III8s4s", 6, 4, 3, b"Linux\0", b"\1")
    notes += struct.pack(f"{order}III4s20s", 4, 20, 3, b"GNU\0", BUILD_ID)
    embedded = b"" if config is None else b"IKCFG_ST" + gzip.compress(config, mtime=0) + b"IKCFG_ED"
    # Strings that a kernel has besides: a driver's format, and a shorter relative of the banner.
    constants = (
        b"Linux version %s"
        + b", and more" * 20
        + b"\0Linux version 6\0"
        + BANNER.encode()
        + b"\n\0"
        + embedded
    )
    parts = [Part(".text", pad), Part(".rodata", constants), Part(".notes", notes), Part(".BTF", btf)]
    return build(parts, bits=bits, order=order, kind=EXEC, machine=machine)


def lz4_legacy(data: bytes) -> bytes:
    """Return what ``lz4 -l`` writes."""
    blocks = [data[at : at + (8 << 20)] for at in range(0, len(data), 8 << 20)]
    packed = [lz4.block.compress(block, store_size=False) for block in blocks]
    return b"\x02\x21\x4c\x18" + b"".join(len(one).to_bytes(4, "little") + one for one in packed)


PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": partial(gzip.compress, mtime=0),  # the same bytes every time: they name tests
    "xz": lzma.compress,
    "xz-x86": lambda data: lzma.compress(
        data,
        check=lzma.CHECK_CRC32,
        filters=[{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 25}],
    ),
    "bzip2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": lz4.frame.compress,
    "lz4-legacy": lz4_legacy,
    "zstd": zstandard.ZstdCompressor().compress,
    "zstd-unsized": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
}


def bzimage(
    payload: bytes, *, setup_sects: int = 4, version: int = 0x020F, length: int | None = None
) -> bytes:
    """Return an x86 image as arch/x86/boot/tools lays it out: boot sector and setup, stub, payload, stub."""
    setup = bytearray((setup_sects or 4) * 512 + 512)
    setup[0x1F1] = setup_sects
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    stub = b"\x90" * 777
    struct.pack_into("<II", setup, 0x248, len(stub), len(payload) if length is None else length)
    return bytes(setup) + stub + payload + stub


def flat(btf: bytes, *, mark: tuple[int, bytes] = (0, b""), head: int = 0x12000, tail: int = 4096) -> bytes:
    """Return vmlinux's memory as objcopy -O binary writes it: code, constants, ``btf`` between them, data.

    ``mark`` is what an architecture's header has at a place.
    """
    code = bytearray(random.Random(head).randbytes(head))
    code[mark[0] : mark[0] + len(mark[1])] = mark[1]
    return bytes(code) + BANNER.encode() + b"\n\0" + bytes(64) + btf + bytes(tail)


def pe(sections: Mapping[str, bytes], machine: int = 0xAA64) -> bytes:
    """Return an EFI executable of these sections."""
    start = 0x80 + 24 + 40 * len(sections)
    dos = bytearray(0x80)
    dos[:2], dos[0x3C] = b"MZ", 0x80
    rows, body = b"", b""
    for name, data in sections.items():
        raw = data + bytes(-len(data) % 512)
        at = start + len(body)
        rows += struct.pack("<8sIIII16x", name.encode(), len(data), 0x1000, len(raw), at)
        body += raw
    return bytes(dos) + struct.pack("<4sHH12xHH", b"PE\0\0", machine, len(sections), 0, 0) + rows + body


def zboot(packed: bytes, machine: int = 0xAA64) -> bytes:
    """Return an EFI zboot image around a packed kernel (drivers/firmware/efi/libstub/zboot-header.S)."""
    image = bytearray(pe({".text": bytes(100)}, machine))
    struct.pack_into("<4sII", image, 4, b"zimg", len(image), len(packed))
    return bytes(image) + packed + bytes(32)
