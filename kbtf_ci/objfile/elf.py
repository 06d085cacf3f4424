# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""ELF files by their section table, which is read in one step; pyelftools is used here alone.

Only what is asked for is touched: of a mapped vmlinux of some hundred MB, the header, the table and a
section or two.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from elftools.elf.enums import ENUM_E_MACHINE
from elftools.elf.structs import ELFStructs

from kbtf_ci.errors import UsageError
from kbtf_ci.model.architecture import Architecture, ByteOrder, of_elf
from kbtf_ci.model.module import Module
from kbtf_ci.objfile.compression import Buffer, load

MODULE_LIMIT = 512 << 20  # bytes of an unpacked module; the largest of a distribution's with DWARF has 100 MB

SHT_SYMTAB = 2
SHT_NOBITS = 8
_WITHOUT_BYTES = (0, SHT_NOBITS)  # SHT_NULL
_SHN_XINDEX = 0xFFFF
_SHN_LORESERVE = 0xFF00
_STT_FUNC = 2
_EM_MIPS = 8

_CLASSES = {1: 32, 2: 64}  # EI_CLASS
_ORDERS: dict[int, ByteOrder] = {1: "<", 2: ">"}  # EI_DATA

_SUFFIX = re.compile(r"\.ko(\.(xz|zst|gz))?\Z")
_PACKED = re.compile(r"(?<=\.ko)\.(xz|zst|gz)\Z")


@dataclass(frozen=True)
class Section:
    """One entry of the section table, as written: ``offset`` and ``size`` in bytes of the file."""

    index: int
    type: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True)
class FunctionSymbol:
    """A function of the symbol table: its section's index, and address and size there in bytes."""

    name: str
    section: int
    value: int
    size: int


@dataclass(frozen=True)
class PlacedSymbol:
    """A symbol of some section: its place there and its size, both in bytes."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class _Layout:
    """How the tables of one class and byte order are laid out; names as in elf(5)."""

    header: Any  # a construct Struct
    header_bytes: int
    section: np.dtype[np.void]
    symbol: np.dtype[np.void]
    relocation: dict[str, np.dtype[np.void]]  # by ".rela" and ".rel"
    symbol_shift: int  # ELF64_R_SYM(), ELF32_R_SYM()


class ElfImage:
    """The sections of an ELF file.

    ``data`` may be a mapping of the file; ``name`` is for messages. Raises UsageError when it is no ELF
    file, or when the table or a section with bytes lies outside it, as the kernel refuses a module then
    (kernel/module/main.c, elf_validity_check()).
    """

    def __init__(self, data: Buffer, name: str = "ELF image") -> None:
        self._data = data
        self._name = name
        self._layout = self._find_layout()
        header = self._read_header()
        self.type = str(header.e_type)  # "ET_REL", or a number where elf(5) has no name for it
        self.machine = int(ENUM_E_MACHINE.get(header.e_machine, header.e_machine))
        self.flags = int(header.e_flags)
        self._table = self._read_table(header)
        self._refuse_outside()
        self._names = self._read_names(header)
        # Backwards, so that of two sections with one name the first stays.
        offsets = self._table["sh_name"].tolist()
        self._first = {offsets[index]: index for index in range(len(offsets) - 1, 0, -1)}

    @property
    def data(self) -> Buffer:
        """The file's bytes."""
        return self._data

    @property
    def pointer_bytes(self) -> int:
        """How many bytes a pointer has in code of the file's class: 4 or 8."""
        return _CLASSES[self._data[4]] // 8

    @property
    def byte_order(self) -> ByteOrder:
        """The file's byte order, as struct and numpy write it."""
        return _ORDERS[self._data[5]]

    @property
    def architecture(self) -> Architecture:
        """The architecture that the file's header names."""
        return of_elf(self.machine, 8 * self.pointer_bytes, self.byte_order)

    def find(self, name: str) -> Section | None:
        """Return the first section of that name by index, as the kernel takes it (find_any_sec()), else None.

        Names are found in the string table and not the other way round: names may share their ends.
        """
        needle = name.encode() + b"\0"
        indices = (self._first.get(position) for position in _positions(self._names, needle))
        index = min((index for index in indices if index is not None), default=None)
        return None if index is None else self._entry(index)

    def section(self, name: str) -> bytes | None:
        """Return the bytes of the first section of that name, as they lie in the file; None: no such section.

        Neither its type nor SHF_COMPRESSED is heeded, as in the kernel. Raises UsageError when it lies
        outside the file, which only a section of type NOBITS or NULL can by now.
        """
        section = self.find(name)
        if section is None:
            return None
        if section.offset + section.size > len(self._data):
            raise UsageError(f"{self._name}: section {name} lies outside the file")
        return self._data[section.offset : section.offset + section.size]

    def alignment(self, name: str) -> int:
        """Return the alignment that the first section of that name asks for, in bytes; 1 where none does."""
        section = self.find(name)
        return max(1, int(self._table["sh_addralign"][section.index])) if section else 1

    def has_type(self, section_type: int) -> bool:
        """Return whether a section of that type is there."""
        return section_type in self._table["sh_type"].tolist()

    def relocated_slots(self, name: str) -> dict[str, int]:
        """Return which symbols are put into section ``name``, each with its first offset there in bytes."""
        found: dict[str, int] = {}
        for prefix, layout in self._layout.relocation.items():
            section = self.find(prefix + name)
            if section is not None and section.type not in _WITHOUT_BYTES:
                for symbol, offset in self._relocations(section, layout):
                    found.setdefault(symbol, offset)
        return found

    def section_names(self) -> dict[int, str]:
        """Return the name of each section by its index."""
        offsets = self._table["sh_name"].tolist()
        return {
            index: self._names[start : self._names.find(b"\0", start)].decode(errors="replace")
            for index, start in enumerate(offsets)
        }

    def functions(self) -> Iterator[FunctionSymbol]:
        """Yield the functions that the file itself defines, in the order of its symbol table."""
        table = self._symbols()
        if table is None:
            return
        rows, strings = table
        defined = (rows["st_info"] & 0xF == _STT_FUNC) & (rows["st_shndx"] > 0)
        for row in rows[defined & (rows["st_shndx"] < _SHN_LORESERVE)]:
            name = self._string(strings, int(row["st_name"]))
            yield FunctionSymbol(name, int(row["st_shndx"]), int(row["st_value"]), int(row["st_size"]))

    def symbols_in(self, name: str) -> Iterator[PlacedSymbol]:
        """Yield the symbols that lie in section ``name``, in the order of the symbol table."""
        section, table = self.find(name), self._symbols()
        if section is None or table is None:
            return
        rows, strings = table
        start = 0 if self.type == "ET_REL" else int(self._table["sh_addr"][section.index])
        for row in rows[(rows["st_shndx"] == section.index) & (rows["st_name"] > 0)]:
            place = int(row["st_value"]) - start
            yield PlacedSymbol(self._string(strings, int(row["st_name"])), place, int(row["st_size"]))

    def relocated_addresses(self, name: str) -> Iterator[tuple[int, int]]:
        """Yield what is put into section ``name``, in order: the index of a section and an address there.

        Only relocations with addends are known; what is not in a section of the file is left out.
        """
        section, table = self.find(f".rela{name}"), self._symbols()
        if section is None or section.type in _WITHOUT_BYTES or table is None:
            return
        layout = self._layout.relocation[".rela"]
        entries = self._array(layout, section.offset, section.size // layout.itemsize)
        rows, _ = table
        numbers = self._symbol_numbers(entries["r_info"]).tolist()
        for number, addend in zip(numbers, entries["r_addend"].tolist(), strict=True):
            if number < len(rows) and 0 < rows["st_shndx"][number] < _SHN_LORESERVE:
                yield int(rows["st_shndx"][number]), int(rows["st_value"][number]) + addend

    def _symbols(self) -> tuple[npt.NDArray[np.void], Section] | None:
        """Return the rows of the symbol table and the section of their names."""
        section = self.find(".symtab")
        strings = self._linked(section.link) if section else None
        if section is None or section.type in _WITHOUT_BYTES or strings is None:
            return None
        layout = self._layout.symbol
        return self._array(layout, section.offset, section.size // layout.itemsize), strings

    def _relocations(self, section: Section, layout: np.dtype[np.void]) -> Iterator[tuple[str, int]]:
        symbols = self._linked(section.link)
        strings = self._linked(symbols.link) if symbols else None
        if symbols is None or strings is None:
            return
        known = self._array(self._layout.symbol, symbols.offset, symbols.size // self._layout.symbol.itemsize)
        entries = self._array(layout, section.offset, section.size // layout.itemsize)
        numbers = self._symbol_numbers(entries["r_info"])
        for number, offset in zip(numbers.tolist(), entries["r_offset"].tolist(), strict=True):
            if number < len(known):
                yield self._string(strings, int(known["st_name"][number])), offset

    def _symbol_numbers(self, info: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return which symbol each relocation takes; ``info`` is r_info of each.

        64-bit MIPS makes a struct of it, the symbol's word first (arch/mips/include/asm/elf.h,
        Elf64_Mips_Rela), which is another number only where the low word comes first.
        """
        if self.machine == _EM_MIPS and self.pointer_bytes == 8 and self.byte_order == "<":
            return info & 0xFFFF_FFFF
        return info >> self._layout.symbol_shift

    def _linked(self, index: int) -> Section | None:
        if not 0 < index < len(self._table):
            return None
        section = self._entry(index)
        return None if section.type in _WITHOUT_BYTES else section

    def _string(self, table: Section, offset: int) -> str:
        end = table.offset + table.size
        start = min(table.offset + offset, end)
        stop = self._data.find(b"\0", start, min(end, start + 512))  # KSYM_NAME_LEN
        return self._data[start : max(start, stop)].decode(errors="replace")

    def _entry(self, index: int) -> Section:
        row = self._table[index]
        return Section(
            index=index,
            type=int(row["sh_type"]),
            offset=int(row["sh_offset"]),
            size=int(row["sh_size"]),
            link=int(row["sh_link"]),
        )

    def _find_layout(self) -> _Layout:
        ident = self._data[:16]
        if not ident.startswith(b"\x7fELF"):
            raise self._unreadable("no ELF magic" if ident else "it is empty")
        if len(ident) < 16 or ident[4] not in _CLASSES or ident[5] not in _ORDERS:
            raise self._unreadable("neither 32 nor 64 bits, or of no byte order")
        return _layout(_CLASSES[ident[4]], _ORDERS[ident[5]])

    def _read_header(self) -> Any:
        if len(self._data) < self._layout.header_bytes:
            raise self._unreadable("it ends in its header")
        return self._layout.header.parse(self._data[: self._layout.header_bytes])

    def _read_table(self, header: Any) -> npt.NDArray[np.void]:
        layout = self._layout.section
        if header.e_shoff == 0:
            return np.empty(0, layout)
        if header.e_shentsize != layout.itemsize:
            raise self._unreadable(f"section headers of {header.e_shentsize} bytes")
        # elf(5): from 0xff00 sections on the number is in the first entry.
        number = header.e_shnum or int(self._array(layout, header.e_shoff, 1)["sh_size"][0])
        return self._array(layout, header.e_shoff, number)

    def _array(self, layout: np.dtype[np.void], offset: int, number: int) -> npt.NDArray[np.void]:
        if offset + number * layout.itemsize > len(self._data):
            raise self._unreadable("its tables reach outside the file")
        return np.frombuffer(self._data, layout, number, offset)

    def _refuse_outside(self) -> None:
        sizes = self._table["sh_size"].astype(np.uint64)
        offsets = self._table["sh_offset"].astype(np.uint64)
        length = np.uint64(len(self._data))
        outside = (sizes > length) | (offsets > length - np.minimum(sizes, length))
        for index in np.flatnonzero(outside).tolist():
            if self._table["sh_type"][index] not in _WITHOUT_BYTES:
                raise self._unreadable(f"section {index} lies outside the file")

    def _read_names(self, header: Any) -> bytes:
        if not len(self._table):
            return b""
        index = int(header.e_shstrndx)
        if index == _SHN_XINDEX:
            index = int(self._table["sh_link"][0])
        names = self._linked(index)
        if names is None:
            raise self._unreadable(f"section {index} holds no section names")
        return self._data[names.offset : names.offset + names.size]

    def _unreadable(self, why: str) -> UsageError:
        return UsageError(f"{self._name}: not a readable ELF file: {why}")


def read_module(path: Path, file: str) -> Module:
    """Return the inventory's entry for the module at ``path``, known as ``file`` below its tree.

    It may be compressed. Raises UsageError when it is not an ELF file that can be read.
    """
    return module_entry(ElfImage(load(path, MODULE_LIMIT), str(path)), file)


def module_entry(image: ElfImage, file: str) -> Module:
    """Return the inventory's entry for a module, known as ``file`` (packed or not) below its tree.

    Where a section name occurs twice the first one counts, as for the kernel (kernel/module/main.c,
    find_any_sec()). Raises UsageError for a section that is outside the file.
    """
    info = modinfo(image.section(".modinfo") or b"")
    btf = image.section(".BTF") or b""
    base = image.find(".BTF.base")
    plain = unpacked_name(file)
    return Module(
        name=module_name(info, file),
        file=plain,
        packed=file[len(plain) :],
        btf_bytes=len(btf),
        btf_sha256=hashlib.sha256(btf).hexdigest() if btf else "",
        base_bytes=base.size if base else 0,
        depends=dependencies(info),
    )


def unreadable_entry(file: str, fault: str) -> Module:
    """Return the inventory's entry for a module whose file says nothing but its name."""
    plain = unpacked_name(file)
    return Module(module_name({}, file), plain, 0, "", packed=file[len(plain) :], fault=fault)


def unpacked_name(file: str) -> str:
    """Return a module's file name without what says how it is compressed."""
    return _PACKED.sub("", file)


def modinfo(data: bytes) -> dict[str, str]:
    """Split ``key=value`` strings, NUL between them; of a repeated key the first counts (get_modinfo())."""
    entries: dict[str, str] = {}
    for text in data.decode(errors="replace").split("\0"):
        key, separator, value = text.partition("=")
        if separator:
            entries.setdefault(key, value)
    return entries


def modinfo_values(path: Path, key: str) -> tuple[str, ...]:
    """Return all that the ``.modinfo`` of the module at ``path``, compressed or not, says under one key.

    Raises UsageError as ``read_module`` does.
    """
    image = ElfImage(load(path, MODULE_LIMIT), str(path))
    texts = (image.section(".modinfo") or b"").decode(errors="replace").split("\0")
    return tuple(text.removeprefix(f"{key}=") for text in texts if text.startswith(f"{key}="))


def module_name(info: dict[str, str], file: str) -> str:
    """Return the kernel's name for a module: what ``.modinfo`` says, else the file's with underscores."""
    return info.get("name") or _SUFFIX.sub("", Path(file).name).replace("-", "_")


def dependencies(info: dict[str, str]) -> tuple[str, ...]:
    """Return the names of the modules that ``.modinfo`` says this one needs."""
    return tuple(name.replace("-", "_") for name in info.get("depends", "").split(",") if name)


def _positions(text: bytes, needle: bytes) -> Iterator[int]:
    position = text.find(needle)
    while position >= 0:
        yield position
        position = text.find(needle, position + 1)


@cache
def _layout(bits: int, order: ByteOrder) -> _Layout:
    structs = ELFStructs(little_endian=order == "<", elfclass=bits)
    structs.create_basic_structs()
    word, address = f"{order}u4", f"{order}u{bits // 8}"
    symbol = (
        [("st_name", word), ("st_value", word), ("st_size", word), ("st_info", "u1"), ("st_other", "u1"),
         ("st_shndx", f"{order}u2")]
        if bits == 32
        else [("st_name", word), ("st_info", "u1"), ("st_other", "u1"), ("st_shndx", f"{order}u2"),
              ("st_value", address), ("st_size", address)]
    )  # fmt: skip
    relocation = [("r_offset", address), ("r_info", address)]
    return _Layout(
        header=structs.Elf_Ehdr,
        header_bytes=structs.Elf_Ehdr.sizeof(),
        section=np.dtype([
            ("sh_name", word), ("sh_type", word), ("sh_flags", address), ("sh_addr", address),
            ("sh_offset", address), ("sh_size", address), ("sh_link", word), ("sh_info", word),
            ("sh_addralign", address), ("sh_entsize", address),
        ]),
        symbol=np.dtype(symbol),
        relocation={
            ".rela": np.dtype([*relocation, ("r_addend", address)]),
            ".rel": np.dtype(relocation),
        },
        symbol_shift=8 if bits == 32 else 32,
    )  # fmt: skip
