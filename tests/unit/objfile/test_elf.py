# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import hashlib
import itertools
import random
import re
import sys
import time
from pathlib import Path

import numpy
import pytest
from elftools.elf.elffile import ELFFile

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import ElfImage, read_module
from tests.support.images import NOBITS, NULL, PACKERS, REL, STRTAB, Part, build, module

LAYOUTS = list(itertools.product((32, 64), "<>"))
NATIVE_LIBRARY = next(Path(numpy.__file__).parent.rglob("*.so"))


@pytest.mark.parametrize("path", [Path(sys.executable).resolve(), NATIVE_LIBRARY], ids=["python", "library"])
def test_a_linkers_file_reads_as_pyelftools_reads_it(path: Path) -> None:
    image = ElfImage(load(path, 1 << 30), str(path))
    with path.open("rb") as stream:
        sections = [section for section in ELFFile(stream).iter_sections() if section.name]
        assert len(sections) > 20
        for section in sections:
            found = image.find(section.name)
            assert found
            assert (found.offset, found.size) == (section["sh_offset"], section["sh_size"])
            if section["sh_type"] != "SHT_NOBITS":
                assert image.section(section.name) == section.data()


@pytest.mark.parametrize(("bits", "order"), LAYOUTS)
def test_every_class_and_byte_order_is_read(bits: int, order: str) -> None:
    image = ElfImage(module(bits=bits, order=order, btf=b"BTF"), "x")
    assert (image.type, image.byte_order, image.section(".BTF")) == ("ET_REL", order, b"BTF")
    assert image.machine == (62 if bits == 64 else 3)
    expected = {"init_module": 0x138, "cleanup_module": 0x4B0}
    assert image.relocated_slots(".gnu.linkonce.this_module") == expected


def test_a_section_that_is_not_there_is_none_and_an_empty_one_is_empty() -> None:
    image = ElfImage(build([Part(".BTF", b"")]), "x")
    assert (image.section(".BTF"), image.section(".BTF.base"), image.section("BTF")) == (b"", None, None)


def test_the_first_by_index_counts_even_where_its_name_stands_later() -> None:
    names = b"\0.BTF\0.BTF\0.shstrtab\0"
    data = build([Part(".BTF", b"one"), Part(".BTF", b"three")])
    assert ElfImage(data, "x").section(".BTF") == b"one"
    # Let the two change names: the first section now has the name that stands later.
    table = int.from_bytes(data[40:48], "little")
    swapped = bytearray(data)
    swapped[table + 64] = names.rindex(b".BTF")
    swapped[table + 128] = names.index(b".BTF")
    assert ElfImage(bytes(swapped), "x").section(".BTF") == b"one"


def test_the_first_counts_where_two_share_one_string_too() -> None:
    data = bytearray(build([Part(".BTF", b"one"), Part(".BTF", b"three")]))
    table = int.from_bytes(data[40:48], "little")
    data[table + 128] = data[table + 64]  # as every linker writes it
    assert ElfImage(bytes(data), "x").section(".BTF") == b"one"


def test_names_that_share_their_end_are_told_apart() -> None:
    data = bytearray(build([Part(".rela.BTF", b"relocations"), Part(".BTF?", b"types")]))
    table = int.from_bytes(data[40:48], "little")
    data[table + 128] = 1 + len(".rela")  # the second is named by the first one's end
    image = ElfImage(bytes(data), "x")
    assert (image.section(".BTF"), image.section(".rela.BTF")) == (b"types", b"relocations")


def test_a_nobits_section_is_taken_from_the_file_as_the_kernel_does() -> None:
    data = build([Part(".text", b"abcdef"), Part(".BTF", type=NOBITS, offset=66, size=3)])
    assert ElfImage(data, "x").section(".BTF") == b"cde"


def test_a_nobits_section_outside_the_file_is_refused_when_asked_for() -> None:
    image = ElfImage(build([Part(".bss", type=NOBITS, size=1 << 40), Part(".BTF", b"x")]), "x.ko")
    assert image.section(".BTF") == b"x"
    with pytest.raises(UsageError, match=r"x.ko: section \.bss lies outside the file"):
        image.section(".bss")


def test_many_sections_are_counted_in_the_first_entry() -> None:
    parts = [Part(f".text.{number}", b"") for number in range(0xFF10)]
    data = bytearray(build([*parts, Part(".BTF", b"last")], header={"e_shnum": 0, "e_shstrndx": 0xFFFF}))
    table = int.from_bytes(data[40:48], "little")
    number = len(parts) + 3
    data[table + 32 : table + 40] = number.to_bytes(8, "little")
    data[table + 40 : table + 44] = (number - 1).to_bytes(4, "little")
    assert ElfImage(bytes(data), "x").section(".BTF") == b"last"


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"e_shoff": 1 << 62}, "tables reach outside"),
        ({"e_shnum": 0xFFFF}, "tables reach outside"),
        ({"e_shentsize": 40}, "section headers of 40 bytes"),
        ({"e_shstrndx": 77}, "section 77 holds no section names"),
        ({"e_shstrndx": 0}, "section 0 holds no section names"),
    ],
)
def test_a_hostile_header_is_refused(header: dict[str, int], why: str) -> None:
    with pytest.raises(UsageError, match=rf"x.ko: not a readable ELF file: .*({why})"):
        ElfImage(build([Part(".BTF", b"abc")], header=header), "x.ko")


@pytest.mark.parametrize("kind", [NULL, NOBITS])
def test_names_in_a_section_without_bytes_are_refused(kind: int) -> None:
    data = build([Part(".shstr", type=kind, offset=0, size=64)], header={"e_shstrndx": 1})
    with pytest.raises(UsageError, match="section 1 holds no section names"):
        ElfImage(data, "x")


@pytest.mark.parametrize("header", [{"e_shoff": 0}, {"e_shnum": 0}])
def test_a_file_with_no_section_table_has_no_section(header: dict[str, int]) -> None:
    assert ElfImage(build([Part(".BTF", b"x")], header=header), "x").find(".BTF") is None


@pytest.mark.parametrize(
    "part",
    [
        Part(".text", b"a", size=1 << 63),
        Part(".text", b"a", size=5000),
        Part(".text", bytes(1000), size=900, offset=800),
        Part(".text", b"a", size=5000, offset=0),
        Part(".text", b"a", offset=(1 << 64) - 1),
        Part(".text", b"a", offset=(1 << 64) - 8, size=16),
        Part(".text", b"a", offset=500, size=1),
    ],
)
def test_a_section_outside_the_file_is_refused(part: Part) -> None:
    with pytest.raises(UsageError, match="section 1 lies outside the file"):
        ElfImage(build([part]), "x.ko")


def test_a_section_of_no_type_may_lie_anywhere() -> None:
    assert ElfImage(build([Part("", type=NULL, offset=1 << 50, size=1), Part(".BTF", b"x")]), "x").find(
        ".BTF"
    )


@pytest.mark.parametrize("link", [0, 3, 77, 0xFFFFFFFF])
def test_relocations_that_lead_nowhere_name_nothing(link: int) -> None:
    parts = [
        Part(".rela.x", bytes(24 * 3), link=link),
        Part(".strtab", b"\xff" * 9, STRTAB),
        Part("z", type=NOBITS),
    ]
    assert set(ElfImage(build(parts), "x").relocated_slots(".x")) <= {""}


def test_a_symbol_longer_than_the_kernel_allows_is_not_read() -> None:
    parts = [
        Part(".rela.x", bytes(24), link=2),
        Part(".symtab", b"\1" + bytes(23), link=3),
        Part(".strtab", b"\0" + b"a" * 100_000 + b"\0", STRTAB),
    ]
    assert ElfImage(build(parts), "x").relocated_slots(".x") == {"": 0}


@pytest.mark.parametrize("kind", ["plain", *PACKERS])
def test_the_inventory_reads_a_module_however_it_is_packed(tmp_path: Path, kind: str) -> None:
    data = module(btf=b"BTF!")
    path = tmp_path / "other-name.ko.packed"
    path.write_bytes(PACKERS[kind](data) if kind in PACKERS else data)
    found = read_module(path, "kernel/other-name.ko.xz")
    assert (found.name, found.depends, found.base_bytes) == ("ext_four", ("mb_cache", "jbd2"), 8)
    assert (found.btf_bytes, found.btf_sha256) == (4, hashlib.sha256(b"BTF!").hexdigest())


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst", ".gz"])
def test_a_compressed_files_name_loses_both_its_endings(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "x").write_bytes(build([Part(".BTF", b"x")]))
    assert read_module(tmp_path / "x", f"kernel/snd-pcm.ko{suffix}").name == "snd_pcm"


@pytest.mark.parametrize(("bits", "order"), LAYOUTS)
def test_a_module_cut_anywhere_is_refused(bits: int, order: str) -> None:
    data = module(bits=bits, order=order)
    for length in range(len(data)):
        with pytest.raises(UsageError):
            ElfImage(data[:length], "cut.ko")


def test_whatever_byte_is_changed_only_our_error_comes_out() -> None:
    rng, lines = random.Random(3), []
    for bits, order in LAYOUTS:
        data = module(bits=bits, order=order)
        table = len(data) - (64 if bits == 64 else 40) * 10
        for position in [*range(64), *range(table, len(data))]:
            changed = bytearray(data)
            changed[position] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, changed[position] ^ 1))
            try:
                image = ElfImage(bytes(changed), "x.ko")
                image.relocated_slots(".gnu.linkonce.this_module")
                image.section(".BTF")
            except UsageError as error:
                lines.append(error.message)
    assert len(lines) > 100
    assert all(re.fullmatch(r"x\.ko: .+", line) for line in lines)


def test_a_hundred_thousand_equal_names_take_no_long_time() -> None:
    strings = b".BTF\0" * 100_000
    parts = [Part(".text", b"") for _ in range(1000)]
    began = time.process_time()
    data = build([*parts, Part(".fake", strings, STRTAB)], kind=REL, header={"e_shstrndx": 1001})
    image = ElfImage(data, "x")
    for _ in range(5):
        image.find(".BTF")
    # Processor time: other processes do not count.
    assert time.process_time() - began < 30
