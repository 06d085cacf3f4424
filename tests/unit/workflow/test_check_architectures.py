# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci check`` over kernels and modules of every architecture: class and byte order follow the files.

What tests/e2e/test_architectures.py does with Debian's kernels, with files made byte by byte.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from kbtf_ci.model.architecture import ARCHITECTURES, Architecture
from tests.support import images, pair
from tests.support import sketch as sk
from tests.support.schemas import valid
from tests.support.sketch import Sketch

INTREE = b"vermagic=6.12.107+deb13-amd64 SMP \0intree=Y\0name=m\0"
EVERY = pytest.mark.parametrize("arch", ARCHITECTURES, ids=lambda one: one.name)
BY_NAME = {one.name: one for one in ARCHITECTURES}
# Words of kernel/bpf: struct btf_id_set8, whose flag says that it is one of kfuncs.
KFUNCS = 1


class Bench:
    """A kernel of one architecture in a folder, and the check called as a user calls it."""

    def __init__(self, folder: Path, arch: Architecture) -> None:
        self.folder, self.arch = folder, arch
        self.base = pair.vmlinux(arch.order)
        self.vmlinux = folder / "vmlinux"
        self.kernel(self.elf())

    def elf(self, btf: bytes | None = None) -> bytes:
        arch = self.arch
        return images.vmlinux(
            self.base.bytes() if btf is None else btf, config=b"CONFIG_SMP=y\n", bits=arch.bits,
            order=arch.order, machine=arch.machine,
        )  # fmt: skip

    def kernel(self, data: bytes) -> None:
        self.vmlinux.write_bytes(data)

    def module(
        self, btf: bytes, name: str = "m.ko", *, arch: Architecture | None = None, btf_ids: bytes = b""
    ) -> Path:
        arch = arch or self.arch
        path = self.folder / name
        path.write_bytes(
            images.module(
                btf=btf, base=None, modinfo=INTREE, bits=arch.bits, order=arch.order, machine=arch.machine,
                btf_ids=btf_ids,
            )
        )  # fmt: skip
        return path

    def check(self, *words: Path | str) -> Result:
        done = CliRunner().invoke(main, ["check", "--vmlinux", str(self.vmlinux), *map(str, words)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done

    def document(self, *words: Path | str) -> dict[str, Any]:
        done = self.check("--json", *words)
        found: dict[str, Any] = json.loads(done.stdout)
        valid("check", found)
        return found

    def only(self, *words: Path | str) -> dict[str, Any]:
        one: dict[str, Any]
        (one,) = self.document(*words)["modules"]
        return one


@EVERY
def test_a_healthy_module_passes_and_the_architecture_is_told(tmp_path: Path, arch: Architecture) -> None:
    bench = Bench(tmp_path, arch)
    path = bench.module(pair.split(bench.base).bytes())
    found = bench.document(path)
    (one,) = found["modules"]
    assert (one["outcome"], one["cause"]) == ("VERIFIED", "")
    assert found["kernel"]["architecture"] == arch.name
    assert f"6.12.107+deb13-amd64 ({arch.name}), rules of 6.12: 1 modules" in bench.check(path).stdout


@EVERY
def test_a_module_of_a_vmlinux_with_one_string_more_is_not_fine(tmp_path: Path, arch: Architecture) -> None:
    bench = Bench(tmp_path, arch)
    written_for = pair.vmlinux(arch.order)
    written_for.string("x")
    one = bench.only(bench.module(pair.split(written_for).bytes()))
    assert one["cause"] == "relinked"
    assert "(+0 types, -2 string bytes)" in one["advice"]


@EVERY
def test_a_module_of_a_vmlinux_with_two_types_more_loads_and_is_flagged(
    tmp_path: Path, arch: Architecture
) -> None:
    bench = Bench(tmp_path, arch)
    written_for = pair.vmlinux(arch.order)
    written_for.add(sk.PTR, 0, written_for.add(sk.PTR, 0, pair.INT))
    one = bench.only(bench.module(pair.split(written_for).bytes()))
    assert (one["outcome"], one["cause"]) == ("VERIFIED", "relinked")
    assert one["base_mismatch"]


@EVERY
def test_a_corrupt_byte_is_refused(tmp_path: Path, arch: Architecture) -> None:
    bench = Bench(tmp_path, arch)
    btf = bytearray(pair.split(bench.base).bytes())
    btf[24 + 4 + (3 if arch.order == "<" else 0)] |= 0x40  # a bit of the first type's info that must be 0
    one = bench.only(bench.module(bytes(btf)))
    assert (one["outcome"], one["errno"], one["rule"]) == ("REJECTED", -22, "type.info")


@EVERY
def test_where_init_lies_is_read_from_the_relocations(tmp_path: Path, arch: Architecture) -> None:
    bench = Bench(tmp_path, arch)
    record = next(words for words in bench.base.records if words[2] == 0x500)
    record[5] += 8 * 8  # the offset of the first member, which is init
    bench.kernel(bench.elf())
    one = bench.only(bench.module(pair.split(bench.base).bytes()))
    assert (one["rule"], one["cause"]) == ("gate.init_offset", "other configuration")


@EVERY
def test_pointers_are_as_wide_as_the_architectures(tmp_path: Path, arch: Architecture) -> None:
    bench = Bench(tmp_path, arch)
    for size, cause in ((arch.bits // 8, ""), (4, "other vmlinux" if arch.bits == 64 else "")):
        split = pair.split(bench.base)
        to = split.add(sk.PTR, 0, pair.INT)
        members = [split.string("a"), to, 0, split.string("b"), to, 8 * size]
        split.add(sk.STRUCT, split.string("two"), 2 * size, *members, vlen=2)
        assert bench.only(bench.module(split.bytes()))["cause"] == cause


@EVERY
def test_sets_of_kfuncs_are_read_in_the_files_byte_order(tmp_path: Path, arch: Architecture) -> None:
    bench = Bench(tmp_path, arch)
    split = pair.split(bench.base)
    functions = [split.first_id + n for n, words in enumerate(split.records) if sk.kind_of(words) == sk.FUNC]
    for ids, rules in ((functions[:2], []), ([0, functions[1]], ["kfunc.id"])):
        words = (2, KFUNCS, ids[0], 0, ids[1], 0)
        path = bench.module(split.bytes(), btf_ids=struct.pack(f"{arch.order}6I", *words))
        assert [found["rule"] for found in bench.only(path)["unusable"]] == rules


def foreign(arch: Architecture) -> Architecture:
    """Return another one, of the same class and byte order where there is one."""
    others = [one for one in ARCHITECTURES if one != arch]
    return max(others, key=lambda one: (one.bits == arch.bits) + (one.order == arch.order))


@EVERY
def test_modules_of_another_architecture_cost_one_line(tmp_path: Path, arch: Architecture) -> None:
    bench, other = Bench(tmp_path, arch), foreign(arch)
    split = pair.split(bench.base)
    paths = [bench.module(split.bytes(), name, arch=other) for name in ("a.ko", "b.ko")]
    done = bench.check(*paths)
    assert (done.exit_code, done.stdout) == (2, "")
    told = f"{paths[0]}: a module for {other.name}, and the kernel {bench.vmlinux} is for {arch.name}"
    assert f"kbtf-ci: {told} (so with each of 2 modules)\n" in done.stderr
    # Among its own a foreign one is one module's fault.
    found = bench.document(bench.module(split.bytes(), "c.ko"), paths[1])
    assert [one["outcome"] for one in found["modules"]] == ["VERIFIED", "LOAD_FAILED"]
    assert (found["modules"][1]["cause"], found["modules"][1]["errno"]) == ("other architecture", -8)


def test_a_module_in_the_other_byte_order_is_none_of_this_kernel(tmp_path: Path) -> None:
    bench = Bench(tmp_path, BY_NAME["ppc64"])
    other = pair.split(pair.vmlinux("<"))
    done = bench.check(bench.module(other.bytes(), arch=BY_NAME["ppc64le"]))
    assert "a module for ppc64le, and the kernel" in done.stderr
    raw = bench.folder / "raw"
    raw.write_bytes(bench.base.bytes())
    bench.vmlinux = raw
    one = bench.only(bench.module(other.bytes(), arch=BY_NAME["ppc64le"]))
    assert (one["outcome"], one["cause"]) == ("REJECTED", "other byte order")
    assert "this kernel is big-endian" in one["advice"]


def test_a_kernel_whose_btf_is_in_the_other_byte_order_refuses_it(tmp_path: Path) -> None:
    """Its ELF file says what it is, whatever the magic is."""
    bench = Bench(tmp_path, BY_NAME["s390x"])
    little = pair.vmlinux("<")
    bench.kernel(bench.elf(little.bytes()))
    one = bench.only(bench.module(pair.split(little).bytes()))
    assert (one["outcome"], one["cause"]) == ("REJECTED", "vmlinux refused")


MARKS = {"arm64": (0x38, b"ARM\x64"), "riscv64": (0x38, b"RSC\x05"), "arm": (0x24, b"\x18\x28\x6f\x01")}


def boot_images(arch: Architecture, btf: bytes) -> dict[str, bytes]:
    """Return boot images such as this architecture's distributions have."""
    packed = images.PACKERS
    elf = images.vmlinux(btf, bits=arch.bits, order=arch.order, machine=arch.machine)
    if arch.kernel == "x86":
        return {"bzImage": images.bzimage(packed["zstd"](elf)), "uki": images.pe({".linux": elf}, 0x8664)}
    flat = images.flat(btf, mark=MARKS.get(arch.name, (0, b"")))
    if arch.name in ("arm64", "riscv64", "loongarch64"):
        machine = {"arm64": 0xAA64, "riscv64": 0x5064, "loongarch64": 0x6264}[arch.name]
        zboot = images.zboot(packed["zstd"](flat), machine)
        efi = {"zboot": zboot, "uki": images.pe({".linux": zboot}, machine)}
        return efi | ({"gzip": packed["gzip"](flat), "flat": flat} if arch.name in MARKS else {})
    if arch.name == "s390x":
        return {"vmlinuz": images.flat(packed["zstd"](flat), mark=(0x10008, b"S390EP"))}
    if arch.name == "arm":
        return {"zImage": images.flat(packed["xz"](flat), mark=MARKS["arm"]).replace(b"Linux version", b"x")}
    parts = [images.Part(".image", packed["gzip"](flat))]
    wrapper = images.build(parts, bits=arch.bits, order=arch.order, kind=images.EXEC, machine=arch.machine)
    return {"wrapper": wrapper, "gzip": packed["gzip"](elf)}


@EVERY
def test_boot_images_are_read_as_vmlinux_is(tmp_path: Path, arch: Architecture) -> None:
    bench = Bench(tmp_path, arch)
    path = bench.module(pair.split(bench.base).bytes())
    for name, data in boot_images(arch, bench.base.bytes()).items():
        bench.kernel(data)
        found = bench.document(path)
        assert [one["cause"] for one in found["modules"]] == [""], name
        assert found["kernel"] | {"rules_read_off": []} == {
            "release": "6.12.107+deb13-amd64", "architecture": arch.name, "rules": "6.12",
            "rules_read_off": [], "unusable": [],
        }, name  # fmt: skip


@EVERY
def test_a_kernel_without_btf_is_no_refusal(tmp_path: Path, arch: Architecture) -> None:
    bench = Bench(tmp_path, arch)
    path = bench.module(pair.split(bench.base).bytes())
    empty = Sketch(order=arch.order).bytes()[:0]
    for name, data in {"vmlinux": bench.elf(empty), **boot_images(arch, empty)}.items():
        bench.kernel(data)
        done = bench.check(path)
        assert (done.exit_code, done.stdout) == (2, ""), name
        assert f"kbtf-ci: {bench.vmlinux}: a kernel without BTF: " in done.stderr, name
        assert "CONFIG_DEBUG_INFO_BTF=y" in done.stderr, name
