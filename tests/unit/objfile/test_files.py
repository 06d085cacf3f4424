# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import gzip
import itertools
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.elf import ElfImage
from kbtf_ci.objfile.files import (
    WithoutBtfError,
    boots_by_pvh,
    open_kernel,
    parse_kernel,
    parse_module,
    read_kernel_file,
    read_module_file,
)
from tests.support import pair
from tests.support.elf import make_elf
from tests.support.images import (
    BANNER,
    BUILD_ID,
    CONFIG,
    EXEC,
    NOBITS,
    PACKERS,
    Part,
    build,
    bzimage,
    flat,
    module,
    vmlinux,
)

LAYOUTS = pytest.mark.parametrize(("bits", "order"), list(itertools.product((32, 64), "<>")))
PACKED = pytest.mark.parametrize("kind", ["plain", *PACKERS])
BTF = b"\x9f\xeb\x01\0base"
Parse = Callable[[bytes, Path], object]
RAW_REST = b"\x01\0the rest of a header of 24 bytes"


def put(folder: Path, name: str, data: bytes, kind: str = "plain") -> Path:
    path = folder / name
    path.write_bytes(PACKERS[kind](data) if kind in PACKERS else data)
    return path


@PACKED
def test_a_module_tells_all_that_the_check_needs(tmp_path: Path, kind: str) -> None:
    found = read_module_file(put(tmp_path, "ext-4.ko", module(), kind))
    assert (found.name, found.btf, found.base) == ("ext_four", b"\x9f\xeb\x01\0split", b"\x9f\xeb\x01\0base")
    assert (found.this_module_bytes, found.init_offset, found.exit_offset) == (0x500, 0x138, 0x4B0)
    assert (found.vermagic, found.depends) == ("6.12.0 SMP ", ("mb_cache", "jbd2"))
    assert (found.btf_ids_bytes, found.signed, found.has_symbols) == (24, False, True)
    assert found.modinfo["license"] == "GPL"


@LAYOUTS
def test_a_module_of_any_layout_is_read(bits: int, order: str) -> None:
    found = parse_module(module(bits=bits, order=order), Path("x.ko"))
    assert (found.init_offset, found.exit_offset, found.name) == (0x138, 0x4B0, "ext_four")


def test_what_a_module_lacks_is_told_as_missing_and_not_as_empty() -> None:
    found = parse_module(build([Part(".text", b"x")]), Path("snd-pcm.ko.zst"))
    assert (found.btf, found.base, found.this_module_bytes) == (None, None, None)
    assert (found.init_offset, found.exit_offset, found.btf_ids_bytes) == (None, None, 0)
    assert (found.name, found.vermagic, found.depends, found.has_symbols) == ("snd_pcm", "", (), False)
    assert parse_module(build([Part(".BTF"), Part(".BTF.base")]), Path("x")).base == b""


@PACKED
def test_a_signature_is_seen_at_the_end_alone(tmp_path: Path, kind: str) -> None:
    mark = b"~Module signature appended~\n"
    assert read_module_file(put(tmp_path, "x", module(tail=bytes(64) + mark), kind)).signed
    assert not read_module_file(put(tmp_path, "y", module(tail=mark + b"\0"), kind)).signed


def test_the_first_vermagic_counts_as_in_the_kernel() -> None:
    data = make_elf([(".modinfo", b"vermagic=one\0vermagic=two\0")])
    assert parse_module(data, Path("x.ko")).vermagic == "one"


def test_a_module_says_what_it_is_not() -> None:
    with pytest.raises(UsageError, match=r"vmlinux: not a kernel module: its ELF type is ET_EXEC"):
        parse_module(vmlinux(), Path("vmlinux"))
    with pytest.raises(UsageError, match=r"x: not a readable ELF file: no ELF magic"):
        parse_module(b"text", Path("x"))


@PACKED
def test_a_kernel_is_read_however_it_is_packed(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path, "kernel", vmlinux(), kind)
    found = read_kernel_file(path)
    assert (found.kind, found.btf, found.path) == ("vmlinux", BTF, path)
    assert (found.release, found.banner) == ("6.12.107+deb13-amd64", BANNER)
    assert found.config == {"CONFIG_SMP": "y", "CONFIG_XFS": "m", "CONFIG_LOCALVERSION": '"-x"'}
    assert found.build_id == BUILD_ID.hex()


@PACKED
def test_an_image_tells_what_its_vmlinux_tells(tmp_path: Path, kind: str) -> None:
    inside = PACKERS[kind](vmlinux()) if kind in PACKERS else vmlinux()
    found = read_kernel_file(put(tmp_path, "vmlinuz", bzimage(inside)))
    assert found.config
    assert (found.kind, found.btf, found.release) == ("bzImage", BTF, "6.12.107+deb13-amd64")
    assert (found.banner, found.build_id, len(found.config)) == (BANNER, BUILD_ID.hex(), 3)


@LAYOUTS
def test_a_kernel_of_any_layout_is_read(bits: int, order: str) -> None:
    found = parse_kernel(vmlinux(bits=bits, order=order), Path("vmlinux"))
    assert (found.btf, found.build_id, found.banner) == (BTF, BUILD_ID.hex(), BANNER)
    assert found.pointer_bytes == bits // 8


@PACKED
@pytest.mark.parametrize("magic", [b"\x9f\xeb", b"\xeb\x9f"])
def test_raw_btf_is_a_kernel_that_says_nothing_else(tmp_path: Path, kind: str, magic: bytes) -> None:
    found = read_kernel_file(put(tmp_path, "btf", magic + RAW_REST, kind))
    assert (found.kind, found.btf) == ("raw", magic + RAW_REST)
    assert (found.release, found.banner, found.config, found.build_id) == ("", "", None, "")
    assert found.pointer_bytes is None


def test_a_kernel_without_its_configuration_has_none() -> None:
    assert parse_kernel(vmlinux(config=None), Path("x")).config is None


def test_the_mark_alone_is_no_configuration() -> None:
    text = Part(".rodata", b"IKCFG_ST is where it starts")
    assert parse_kernel(build([text, Part(".BTF", BTF)], kind=EXEC), Path("x")).config is None


def test_a_broken_configuration_is_named() -> None:
    broken = bytearray(gzip.compress(CONFIG))
    broken[-6] ^= 1
    text = Part(".rodata", b"IKCFG_ST" + bytes(broken) + b"IKCFG_ED")
    with pytest.raises(UsageError, match=r"^vmlinux: its embedded configuration: cannot be unpacked as gzip"):
        parse_kernel(build([text, Part(".BTF", BTF)], kind=EXEC), Path("vmlinux"))


def test_without_rodata_the_banner_is_looked_for_everywhere() -> None:
    data = build([Part(".text", BANNER.encode() + b"\n\0"), Part(".BTF", BTF)], kind=EXEC)
    assert parse_kernel(data, Path("x")).release == "6.12.107+deb13-amd64"


def test_a_banner_without_end_is_cut() -> None:
    data = build([Part(".rodata", b"Linux version 6" + b"a" * 100_000), Part(".BTF", BTF)], kind=EXEC)
    assert len(parse_kernel(data, Path("x")).banner) < 1100


@pytest.mark.parametrize(
    "notes", [b"\0", bytes(12), b"\xff" * 40, b"\4\0\0\0\xff\xff\xff\xff\3\0\0\0GNU\0ab"]
)
def test_broken_notes_give_what_they_hold(notes: bytes) -> None:
    data = build([Part(".notes", notes), Part(".BTF", BTF)], kind=EXEC)
    assert parse_kernel(data, Path("x")).build_id in ("", b"ab".hex())


@pytest.mark.parametrize(
    ("data", "why", "hint"),
    [
        (
            build([Part(".text", b"x")], kind=EXEC),
            "a kernel without BTF: it has no .BTF section",
            "CONFIG_DEBUG_INFO_BTF",
        ),
        (
            build([Part(".BTF", b"")], kind=EXEC),
            "a kernel without BTF: it has no .BTF section",
            "CONFIG_DEBUG_INFO_BTF",
        ),
        (build([Part(".BTF", type=NOBITS, size=9)], kind=EXEC), "NOBITS", "/sys/kernel/btf/vmlinux"),
        (module(), "not a kernel: its ELF type is ET_REL", "/sys/kernel/btf/vmlinux"),
        (b"", "not a vmlinux, a boot image or raw BTF", "/sys/kernel/btf/vmlinux"),
        (b"some text", "not a vmlinux, a boot image or raw BTF", "/sys/kernel/btf/vmlinux"),
        (PACKERS["gzip"](b"some text"), "not a vmlinux, a boot image or raw BTF", "/sys/kernel/btf/vmlinux"),
    ],
)
def test_what_is_no_kernel_with_btf_is_refused_with_a_way_out(
    tmp_path: Path, data: bytes, why: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=rf"file: .*{re.escape(why)}") as caught:
        read_kernel_file(put(tmp_path, "file", data))
    assert hint in caught.value.hint


@PACKED
def test_a_kernel_or_module_cut_anywhere_is_refused(kind: str) -> None:
    for data, parse in ((vmlinux(config=None), parse_kernel), (module(), parse_module)):
        packed = PACKERS[kind](data) if kind in PACKERS else data
        # What follows a legacy frame's last literal looks like the frame's end: the ELF file is cut then.
        for length in range(len(packed)):
            with pytest.raises(UsageError):
                parse(packed[:length], Path("cut"))


@pytest.mark.parametrize("parse", [parse_kernel, parse_module])
def test_random_bytes_behind_any_magic_raise_our_error(parse: Parse) -> None:
    rng = random.Random(7)
    heads = [
        b"",
        b"\x7fELF\2\1\1",
        b"MZ",
        *(PACKERS[kind](b"x")[:14] for kind in PACKERS),
        bzimage(b"")[:700],
    ]
    for head in heads:
        for _ in range(200):
            with pytest.raises(UsageError, match=r"^noise: [^\n]+$"):
                parse(head + rng.randbytes(rng.randrange(1, 3000)), Path("noise"))


@pytest.mark.parametrize("parse", [parse_kernel, parse_module])
def test_changed_bytes_raise_our_error_or_none(parse: Parse) -> None:
    rng = random.Random(8)
    whole = {kind: PACKERS[kind](vmlinux() if parse is parse_kernel else module()) for kind in PACKERS}
    whole["plain"] = vmlinux() if parse is parse_kernel else module()
    refused = 0
    for data in whole.values():
        for _ in range(150):
            changed = bytearray(data)
            for _ in range(rng.randrange(1, 5)):
                changed[rng.randrange(len(data))] = rng.randrange(256)
            try:
                parse(bytes(changed), Path("changed"))
            except UsageError:
                refused += 1
    assert refused > 150


def note(owner: bytes, kind: int, content: bytes, order: str = "<") -> bytes:
    padded = owner.ljust(-(-len(owner) // 4) * 4, b"\0") + content.ljust(-(-len(content) // 4) * 4, b"\0")
    return struct.pack(f"{order}III", len(owner), len(content), kind) + padded


@pytest.mark.parametrize(
    ("notes", "boots"),
    [
        (note(b"GNU\0", 3, bytes(20)) + note(b"Xen\0", 18, bytes(8)), True),
        (note(b"Linux\0", 0x100, b"\1") + note(b"Xen\0", 18, bytes(4)), True),
        (note(b"Xen\0", 6, b"linux\0") + note(b"GNU\0", 18, bytes(4)), False),
        (note(b"Xen\0", 18, bytes(8))[:10], False),
        (b"", False),
    ],
)
def test_a_vmlinux_with_a_pvh_entry_boots_as_it_is(notes: bytes, boots: bool) -> None:
    image = ElfImage(build([Part(".notes", notes), Part(".BTF", BTF)], kind=EXEC))
    assert boots_by_pvh(image) is boots


def test_an_open_kernel_has_the_vmlinux_that_its_image_carries(tmp_path: Path) -> None:
    data = vmlinux(BTF)
    for name, content in (("vmlinux", data), ("bzImage", bzimage(data)), ("btf", BTF + bytes(24))):
        (tmp_path / name).write_bytes(content)
    plain, packed, raw = (open_kernel(tmp_path / name) for name in ("vmlinux", "bzImage", "btf"))
    assert plain.vmlinux is not None
    assert packed.vmlinux is not None
    assert (plain.vmlinux.data[:], packed.vmlinux.data[:]) == (data, data)
    assert raw.vmlinux is None
    assert packed.file == read_kernel_file(tmp_path / "bzImage")


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_flat_image_tells_what_a_vmlinux_does_but_for_its_build_id(tmp_path: Path, order: str) -> None:
    btf = pair.vmlinux(order).bytes()
    config = b"IKCFG_ST" + gzip.compress(CONFIG, mtime=0) + b"IKCFG_ED"
    path = put(tmp_path, "vmlinuz", bytes(300) + PACKERS["zstd"](flat(btf) + config))
    opened = open_kernel(path)
    found = opened.file
    assert opened.vmlinux is None
    assert (found.kind, found.btf, found.banner, found.build_id) == ("image", btf, BANNER, "")
    assert (found.release, found.byte_order) == ("6.12.107+deb13-amd64", order)
    assert found.config
    assert found.config["CONFIG_XFS"] == "m"
    # Neither image says what it is for, so that nothing is said of pointers.
    assert (found.architecture, found.pointer_bytes) == (None, None)
    marked = put(tmp_path, "Image", flat(btf, mark=(0x38, b"ARM\x64")))
    of = read_kernel_file(marked).architecture
    assert of
    assert (of.machine, of.bits, of.order) == (183, 64, order)


def test_a_flat_image_without_btf_takes_that_of_its_module(tmp_path: Path) -> None:
    image, btf = put(tmp_path, "Image", flat(b"")), pair.vmlinux().bytes()
    with pytest.raises(WithoutBtfError, match=r"a kernel without BTF: 6.12.107\+deb13-amd64, and none"):
        open_kernel(image)
    info = b"vermagic=6.12.107+deb13-amd64 SMP \0name=btf_vmlinux\0"
    carrier = put(tmp_path, "btf_vmlinux.ko", module(btf=btf, base=None, modinfo=info))
    assert open_kernel(image, carrier).file.btf == btf
    other = put(tmp_path, "other.ko", module(btf=btf, base=None, modinfo=info.replace(b"107", b"108")))
    with pytest.raises(UsageError, match=r"other.ko: of 6.12.108.*, and .*Image is 6.12.107"):
        open_kernel(image, other)


def test_an_elf_file_that_unpacks_a_kernel_is_one_and_others_are_not(tmp_path: Path) -> None:
    kernel = vmlinux(BTF)
    for inside, kind in ((PACKERS["gzip"](kernel), "bzImage"), (PACKERS["xz"](flat(b"")), "")):
        path = put(tmp_path, "zImage", build([Part(".kernel", inside)], kind=EXEC))
        if kind:
            assert (read_kernel_file(path).kind, read_kernel_file(path).btf) == (kind, BTF)
            continue
        with pytest.raises(WithoutBtfError, match=r"6.12.107.*, and none lies in its image"):
            read_kernel_file(path)
    program = put(tmp_path, "program", build([Part(".text", PACKERS["gzip"](b"a text"))], kind=EXEC))
    with pytest.raises(WithoutBtfError, match=r"it has no \.BTF section"):
        read_kernel_file(program)
