# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a carrier holds, read back with another ELF reader."""

from __future__ import annotations

import io
import struct

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, SymbolTableSection

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.carrier import make_carrier
from tests.support import images
from tests.support.elf import make_elf

THIS = ".gnu.linkonce.this_module"
BTF = b"\x9f\xeb\x01\0the BTF"
INFO = b"license=GPL\0depends=bar,baz\0alias=pci:*\0intree=Y\0name=foo_bar\0vermagic=6.12.0 SMP \0parm=x:y\0"


def this_module(name: bytes = b"foo_bar", size: int = 1024) -> bytes:
    return (bytes(24) + name).ljust(size, b"\0")


def version(name: bytes, crc: int) -> bytes:
    return struct.pack("<Q56s", crc, name)


def module(**others: bytes | None) -> bytes:
    """Return a module; ``others`` are further sections, or others of the same names; None takes one out."""
    sections: dict[str, bytes | None] = {
        ".text": b"\x90" * 99, ".modinfo": INFO, THIS: this_module(), f".rela{THIS}": bytes(48), ".BTF": BTF,
    }  # fmt: skip
    sections.update(others)
    return make_elf([(name, data) for name, data in sections.items() if data is not None])


def sections(carrier: bytes) -> dict[str, Section]:
    return {section.name: section for section in ELFFile(io.BytesIO(carrier)).iter_sections()}


def data(carrier: bytes) -> dict[str, bytes]:
    return {name: section.data() for name, section in sections(carrier).items()}


def test_a_carrier_holds_what_the_kernel_reads_for_the_btf_and_nothing_else() -> None:
    held = data(make_carrier(module()))
    assert set(held) == {"", THIS, ".modinfo", ".BTF", ".symtab", ".strtab", ".shstrtab"}
    assert (held[THIS], held[".BTF"]) == (this_module(), BTF)
    assert held[".modinfo"].split(b"\0")[:-1] == [
        b"license=GPL", b"intree=Y", b"name=foo_bar", b"vermagic=6.12.0 SMP ",
    ]  # fmt: skip


def test_the_elf_is_what_elf_validity_cache_copy_asks_for() -> None:
    elf = ELFFile(io.BytesIO(make_carrier(module())))
    assert (elf["e_type"], elf["e_machine"], elf["e_shentsize"]) == ("ET_REL", "EM_X86_64", 64)
    (symbols,) = (section for section in elf.iter_sections() if section["sh_type"] == "SHT_SYMTAB")
    assert isinstance(symbols, SymbolTableSection)
    assert symbols.num_symbols() == 1
    strings = elf.get_section(symbols["sh_link"])
    assert strings
    assert strings["sh_type"] == "SHT_STRTAB"
    this = elf.get_section_by_name(THIS)
    assert this
    assert this["sh_flags"] == 3
    # ____cacheline_aligned
    assert this["sh_addralign"] % 64 == 0
    assert this["sh_offset"] % this["sh_addralign"] == 0


@pytest.mark.parametrize(("bits", "order"), [(32, "<"), (32, ">"), (64, ">")])
def test_a_carrier_is_of_its_modules_class_and_byte_order(bits: int, order: str) -> None:
    names = {32: 59, 64: 55}
    crc = struct.pack(f"{order}{'I' if bits == 32 else 'Q'}", 0xABCD) + b"module_layout"
    parts = [
        images.Part(THIS, this_module()), images.Part(".modinfo", INFO), images.Part(".BTF", BTF),
        images.Part("__versions", bytes(64) + crc.ljust(64, b"\0")),
    ]  # fmt: skip
    own = images.build(parts, bits=bits, order=order)
    carrier = make_carrier(own, name="n" * names[bits])
    elf = ELFFile(io.BytesIO(carrier))
    assert (elf.elfclass, elf.little_endian, elf["e_shentsize"]) == (
        bits,
        order == "<",
        40 if bits == 32 else 64,
    )
    assert elf["e_machine"] == ELFFile(io.BytesIO(own))["e_machine"]
    held = data(carrier)
    assert (held[".BTF"], held["__versions"]) == (BTF, crc.ljust(64, b"\0"))
    assert held[THIS] == this_module(b"n" * names[bits])
    (symbols,) = (section for section in elf.iter_sections() if section["sh_type"] == "SHT_SYMTAB")
    assert isinstance(symbols, SymbolTableSection)
    assert symbols.num_symbols() == 1
    assert make_carrier(carrier, name="foo_bar") == make_carrier(own)
    with pytest.raises(UsageError, match="cannot be a module's name"):
        make_carrier(own, name="n" * (names[bits] + 1))


def test_a_distilled_base_comes_along() -> None:
    held = data(make_carrier(module(**{".BTF.base": b"base"})))
    assert (held[".BTF"], held[".BTF.base"]) == (BTF, b"base")


def test_an_empty_btf_stays_an_empty_section_and_none_stays_none() -> None:
    assert data(make_carrier(module(**{".BTF": b""})))[".BTF"] == b""
    assert ".BTF" not in data(make_carrier(module(**{".BTF": None})))


def test_another_btf_stands_in_the_place_of_both_sections() -> None:
    own = module(**{".BTF.base": b"base"})
    held = data(make_carrier(own, btf=b"other"))
    assert held[".BTF"] == b"other"
    assert ".BTF.base" not in held
    held = data(make_carrier(own, btf=b"other", base=b""))
    assert (held[".BTF"], held[".BTF.base"]) == (b"other", b"")


@pytest.mark.parametrize("name", ["x", "foo_barbarbar", "n" * 55])
def test_another_name_is_in_struct_module_and_modinfo(name: str) -> None:
    held = data(make_carrier(module(), name=name))
    assert held[THIS] == this_module(name.encode())
    names = [entry for entry in held[".modinfo"].split(b"\0") if entry.startswith(b"name=")]
    assert names == [b"name=" + name.encode()]


@pytest.mark.parametrize("name", ["", "n" * 56, "a/b", "a\0b"])
def test_a_name_that_the_kernel_could_not_hold_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a module's name"):
        make_carrier(module(), name=name)


def test_a_module_without_its_name_cannot_be_renamed() -> None:
    for spoilt in (module(**{THIS: this_module(b"other")}), module(**{".modinfo": b"license=GPL\0"})):
        with pytest.raises(UsageError, match=r"name= in \.modinfo is not in its struct module"):
            make_carrier(spoilt, name="new")


def test_of_the_versions_only_that_of_module_layout_is_kept() -> None:
    versions = version(b"printk", 1) + version(b"module_layout", 0xABCD) + version(b"kfree", 2)
    carrier = make_carrier(module(__versions=versions))
    assert data(carrier)["__versions"] == version(b"module_layout", 0xABCD)
    # find_sec() passes over sections that are not SHF_ALLOC.
    assert sections(carrier)["__versions"]["sh_flags"] == 2
    assert "__versions" not in data(make_carrier(module(__versions=version(b"printk", 1))))


@pytest.mark.parametrize("missing", [THIS, ".modinfo"])
def test_what_is_no_module_is_refused(missing: str) -> None:
    with pytest.raises(UsageError, match=f"not a kernel module: it has no {missing} section"):
        make_carrier(module(**{missing: None}))


def test_no_bytes_of_any_kind_raise_another_error() -> None:
    whole = module()
    broken = [b"", b"\x7fELF", b"!<arch>\n" * 20, whole[:64], whole[: len(whole) // 2], whole[:-1]]
    broken += [
        whole[:at] + bytes([value]) + whole[at + 1 :]
        for at in [*range(0x40), *range(len(whole) - 7 * 64, len(whole))]
        for value in (0, 0x7F, 0xFF)
    ]
    refused = 0
    for content in broken:
        try:
            make_carrier(content, name="new")
        except UsageError:
            refused += 1
    assert refused > 20


def test_a_carrier_without_btf_has_neither_of_its_sections() -> None:
    held = data(make_carrier(module(**{".BTF.base": b"base"}), without_btf=True))
    assert set(held) == {"", THIS, ".modinfo", ".symtab", ".strtab", ".shstrtab"}


@pytest.mark.parametrize("size", [960, 1088])
def test_struct_module_may_be_of_another_size(size: int) -> None:
    assert data(make_carrier(module(), struct_bytes=size))[THIS] == this_module(size=size)


ARM64_STUBS = (".plt", ".init.plt", ".text.ftrace_trampoline", ".init.text.ftrace_trampoline")


def test_what_a_loader_lays_stubs_in_comes_along_without_contents() -> None:
    held = sections(make_carrier(module(**dict.fromkeys(ARM64_STUBS, b"stubs"))))
    assert set(ARM64_STUBS) <= set(held)
    for name in ARM64_STUBS:
        # The loader makes it executable, and of its own size.
        assert (held[name]["sh_type"], held[name]["sh_flags"], held[name].data()) == (
            "SHT_PROGBITS",
            6,
            b"\0",
        )
    assert not set(ARM64_STUBS) & set(sections(make_carrier(module())))


def test_a_stub_section_without_bytes_in_the_file_stays_one() -> None:
    """Of powerpc's loader, which makes it larger: of a section with bytes it would read beyond its end."""
    data = bytearray(module(**{".stubs": b"xy"}))
    at = section_header(data, ".stubs")
    data[at + 4] = 8  # SHT_NOBITS
    stubs = sections(make_carrier(bytes(data)))[".stubs"]
    assert (stubs["sh_type"], stubs["sh_size"]) == ("SHT_NOBITS", 0)


def section_header(data: bytes | bytearray, name: str) -> int:
    """Return where the header of a section of an ELF64 file lies."""
    elf = ELFFile(io.BytesIO(bytes(data)))
    index = elf.get_section_index(name)
    assert index is not None
    return int(elf["e_shoff"]) + index * int(elf["e_shentsize"])


def test_struct_module_is_aligned_as_the_cache_lines_of_any_architecture_are() -> None:
    """s390x has the longest."""
    this = sections(make_carrier(module()))[THIS]
    assert (this["sh_addralign"], this["sh_offset"] % 256) == (256, 0)
