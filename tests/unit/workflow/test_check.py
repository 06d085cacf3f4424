# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci check`` over files: what is read, by which rules, and the cause that is named for each fault."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from kbtf_ci.infra.rundir import RunDirectory
from tests.support import images, pair
from tests.support import sketch as sk
from tests.support.records import run_record
from tests.support.schemas import valid
from tests.support.sketch import Sketch

RELEASE = "6.12.107+deb13-amd64"
INTREE = f"vermagic={RELEASE} SMP \0intree=Y\0name=m\0".encode()


class Bench:
    """A kernel and modules in a folder, and the check called on them as a user calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = pair.vmlinux()
        self.vmlinux = folder / "vmlinux"
        self.vmlinux.write_bytes(images.vmlinux(self.base.bytes(), config=b"CONFIG_SMP=y\n"))

    def module(
        self,
        btf: bytes | None,
        name: str = "m.ko",
        *,
        base: bytes | None = None,
        modinfo: bytes = INTREE,
        bits: int = 64,
    ) -> Path:
        path = self.folder / name
        path.write_bytes(images.module(btf=btf, base=base, modinfo=modinfo, bits=bits))
        return path

    def check(self, *words: Path | str) -> Result:
        done = CliRunner().invoke(main, ["check", "--vmlinux", str(self.vmlinux), *map(str, words)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done

    def modules(self, *words: Path | str) -> list[dict[str, Any]]:
        done = self.check("--json", *words)
        found = json.loads(done.stdout)
        valid("check", found)
        modules: list[dict[str, Any]] = found["modules"]
        assert done.exit_code == (0 if all(not one["cause"] for one in modules) else 1)
        return modules

    def only(self, *words: Path | str) -> dict[str, Any]:
        (one,) = self.modules(*words)
        return one


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_healthy_module_passes(bench: Bench) -> None:
    path = bench.module(pair.split(bench.base).bytes())
    one = bench.only(path)
    assert (one["outcome"], one["cause"], one["name"]) == ("VERIFIED", "", "m")
    done = bench.check(path)
    assert done.exit_code == 0
    assert "1 accepted, 0 flagged" in done.stdout


def test_typedefs_that_vmlinux_has_are_counted_and_cost_no_verdict(bench: Bench) -> None:
    names = [bench.base.string(name) for name in ("u32", "s32")]
    for name in names:
        bench.base.add(sk.TYPEDEF, name, pair.INT)
    bench.vmlinux.write_bytes(images.vmlinux(bench.base.bytes(), config=b"CONFIG_SMP=y\n"))
    split = pair.split(bench.base)
    for name in names:
        split.add(sk.TYPEDEF, name, split.add(sk.PTR, 0, pair.INT))  # of another type: the module's own
    healthy = bench.module(split.bytes())
    assert bench.only(healthy)["repeated_typedefs"] == 0
    assert "repeat" not in bench.check(healthy).stdout
    for name in names:
        split.add(sk.TYPEDEF, name, pair.INT)
    larger = bench.module(split.bytes())
    one = bench.only(larger)
    assert (one["repeated_typedefs"], one["outcome"], one["cause"]) == (2, "VERIFIED", "")
    assert "1 modules repeat typedefs of vmlinux (2)" in bench.check(larger).stdout


def test_btf_without_a_type_is_told(bench: Bench) -> None:
    empty = Sketch(bench.base.end_id, len(bench.base.strings))
    one = bench.only(bench.module(empty.bytes()))
    assert (one["empty_btf"], one["btf_bytes"], one["outcome"], one["cause"]) == (True, 24, "VERIFIED", "")
    told = "1 modules have BTF without a type: they load, and no BPF program can use them"
    assert told in bench.check(bench.folder / "m.ko").stdout


def test_structs_that_vmlinux_has_are_counted_where_struct_module_is_among_them(bench: Bench) -> None:
    _int, _pointer, module, *others = bench.base.records
    split = pair.split(bench.base)
    for one_of_vmlinux in others[:2]:
        split.raw(*one_of_vmlinux)
    assert bench.only(bench.module(split.bytes()))["repeated_structs"] == 0  # they may be the module's own
    split.raw(*module)
    larger = bench.module(split.bytes())
    one = bench.only(larger)
    assert (one["repeated_structs"], one["repeated_typedefs"], one["outcome"]) == (3, 0, "VERIFIED")
    assert "1 modules repeat structs of vmlinux (3)" in bench.check(larger).stdout


def test_a_folder_is_searched_and_an_empty_one_refused(bench: Bench) -> None:
    (bench.folder / "tree/net").mkdir(parents=True)
    bench.module(pair.split(bench.base).bytes(), "tree/net/a.ko")
    bench.module(pair.split(bench.base).bytes(), "tree/b.ko")
    assert [one["file"].rsplit("/", 1)[1] for one in bench.modules(bench.folder / "tree")] == ["b.ko", "a.ko"]
    (bench.folder / "empty").mkdir()
    done = bench.check(bench.folder / "empty")
    assert (done.exit_code, "no .ko file in it" in done.stderr) == (2, True)


def test_a_relinked_vmlinux_is_told_by_how_much_it_moved(bench: Bench) -> None:
    written_for = pair.vmlinux()
    written_for.add(sk.FUNC, written_for.string("more"), written_for.add(sk.FUNC_PROTO), vlen=1)
    one = bench.only(bench.module(pair.split(written_for).bytes()))
    assert (one["outcome"], one["errno"], one["cause"]) == ("REJECTED", -22, "relinked")
    assert "(-2 types, -5 string bytes)" in one["advice"]
    assert f"Both call themselves {RELEASE}" in one["advice"]
    assert one["kernel_log"][-1] == "failed to validate module [m] BTF: -22"


def test_a_stale_module_that_loads_is_flagged(bench: Bench) -> None:
    written_for = pair.vmlinux()
    written_for.add(sk.PTR, 0, written_for.add(sk.PTR, 0, pair.INT))
    path = bench.module(pair.split(written_for).bytes())
    one = bench.only(path)
    assert (one["outcome"], one["cause"]) == ("VERIFIED", "relinked")
    assert one["misfit"].startswith("[")
    assert "would load, but its BTF does not belong to this vmlinux" in bench.check(path).stdout


def two_pointers(base: Sketch, pointer: int) -> bytes:
    """A module whose struct has just room for two pointers of so many bytes."""
    one = pair.split(base)
    to = one.add(sk.PTR, 0, pair.INT)
    members = [one.string("a"), to, 0, one.string("b"), to, 8 * pointer]
    one.add(sk.STRUCT, one.string("m_two"), 2 * pointer, *members, vlen=2)
    return one.bytes()


@pytest.mark.parametrize(("bits", "written", "cause"), [(32, 4, ""), (64, 8, ""), (64, 4, "other vmlinux")])
def test_pointers_are_as_wide_as_the_kernels_elf_class_says(
    bench: Bench, bits: int, written: int, cause: str
) -> None:
    bench.vmlinux.write_bytes(images.vmlinux(bench.base.bytes(), bits=bits))
    path = bench.module(two_pointers(bench.base, written), bits=bits)
    one = bench.only(path)
    assert (one["outcome"], one["cause"]) == ("VERIFIED", cause)
    assert ("is too small for its member" in one["base_mismatch"]) == bool(cause)


@pytest.mark.parametrize("name", ["long int", "unsigned long", "long unsigned int"])
@pytest.mark.parametrize(("size", "written", "cause"), [(4, 4, ""), (8, 8, ""), (8, 4, "other vmlinux")])
def test_raw_btf_tells_the_width_of_pointers_by_its_long(
    bench: Bench, name: str, size: int, written: int, cause: str
) -> None:
    for other in ("long long int", "__int128", "long_int"):
        bench.base.add(sk.INT, bench.base.string(other), 12 - size, 32)
    bench.base.add(sk.INT, bench.base.string(name), size, 32)
    bench.vmlinux.write_bytes(bench.base.bytes())
    assert bench.only(bench.module(two_pointers(bench.base, written)))["cause"] == cause


def test_without_a_long_pointers_are_taken_to_have_eight_bytes(bench: Bench) -> None:
    bench.vmlinux.write_bytes(bench.base.bytes())
    assert bench.only(bench.module(two_pointers(bench.base, 8)))["cause"] == ""
    assert bench.only(bench.module(two_pointers(bench.base, 4)))["cause"] == "other vmlinux"


@pytest.mark.parametrize(
    ("bits", "version", "lacks"), [(64, "6.12", 24), (64, "6.1", 16), (32, "6.12", 16), (32, "6.1", 8)]
)
def test_what_btf_adds_to_struct_module_follows_the_class_and_the_version(
    bench: Bench, bits: int, version: str, lacks: int
) -> None:
    record = next(words for words in bench.base.records if words[2] == 0x500)
    record[2] = 0x540
    bench.vmlinux.write_bytes(images.vmlinux(bench.base.bytes(), bits=bits))
    one = bench.only("--kernel-version", version, bench.module(None, bits=bits))
    assert f"struct module then lacks {lacks} bytes" in one["advice"]


def test_an_out_of_tree_module_without_a_base_gets_another_way_out(bench: Bench) -> None:
    written_for = pair.vmlinux()
    written_for.string("longer")
    modinfo = f"vermagic={RELEASE} SMP \0name=m\0".encode()
    one = bench.only(bench.module(pair.split(written_for).bytes(), modinfo=modinfo))
    assert "out-of-tree module without .BTF.base" in one["advice"]


def test_a_module_whose_distilled_base_was_stripped_is_named(bench: Bench) -> None:
    small = sk.Sketch(strings=bytearray(b"\0"))
    small.add(sk.INT, small.string("int"), 4, 0x0100_0020)
    one = bench.only(bench.module(pair.split(small).bytes()))
    assert one["cause"] == "base stripped"


@pytest.mark.parametrize(("cut", "cause"), [(30, "truncated"), (-10, "truncated")])
def test_a_truncated_section_is_told_by_how_much(bench: Bench, cut: int, cause: str) -> None:
    one = bench.only(bench.module(pair.split(bench.base).bytes()[:cut]))
    assert (one["outcome"], one["cause"]) == ("REJECTED", cause)
    assert "bytes are missing" in one["advice"]


def test_a_damaged_header_is_no_stale_module(bench: Bench) -> None:
    one = bench.only(bench.module(b"\x9e" + pair.split(bench.base).bytes()[1:]))
    assert (one["outcome"], one["rule"], one["cause"]) == ("REJECTED", "header.magic", "damaged")
    assert "Invalid magic" in one["advice"]


def test_a_stripped_module_is_told_from_one_that_never_had_btf(bench: Bench) -> None:
    assert bench.only(bench.module(None))["cause"] == "stripped"  # it has .BTF_ids
    plain = bench.folder / "plain.ko"
    parts = [images.Part(".modinfo", INTREE.replace(b"name=m", b"name=p")), images.Part(".symtab", b"", 2)]
    plain.write_bytes(images.build([*parts, images.Part(".gnu.linkonce.this_module", bytes(0x500))]))
    assert bench.only(plain)["cause"] == "never built"
    healthy = bench.module(pair.split(bench.base).bytes(), "healthy.ko")
    assert [one["cause"] for one in bench.modules(healthy, plain)] == ["", "stripped"]


def test_a_module_of_another_kernel_is_named(bench: Bench) -> None:
    modinfo = b"vermagic=6.1.0 SMP \0name=m\0"
    one = bench.only(bench.module(pair.split(bench.base).bytes(), modinfo=modinfo))
    assert (one["outcome"], one["errno"], one["cause"]) == ("LOAD_FAILED", -8, "other kernel")
    assert "built for 6.1.0" in one["advice"]


def test_another_struct_module_is_told_apart_from_one_that_lies_elsewhere(bench: Bench) -> None:
    path = bench.module(pair.split(bench.base).bytes())
    for size, exit_offset, outcome, words in (
        (0x4C0, 0x4B0, "LOAD_FAILED", "1280 bytes, this kernel's 1216"),
        (0x500, 0x498, "VERIFIED", "'exit' at byte 1200, this kernel's at 1176"),
    ):
        base = pair.vmlinux()
        record = next(words for words in base.records if sk.kind_of(words) == sk.STRUCT and words[2] == 0x500)
        record[2], record[8] = size, exit_offset * 8
        bench.vmlinux.write_bytes(images.vmlinux(base.bytes()))
        one = bench.only(path)
        assert (one["outcome"], one["cause"]) == (outcome, "other configuration")
        assert words in one["advice"]


def test_a_base_that_does_not_fit_names_the_type_and_what_came_nearest(bench: Bench) -> None:
    base = sk.Sketch(strings=bytearray(b"\0"))
    held = base.add(sk.STRUCT, base.string("kernel_struct_7"), 8)
    one = sk.Sketch(base.end_id, len(base.strings))
    one.add(sk.STRUCT, one.string("mine"), 8, one.string("it"), held, 0, vlen=1)
    found = bench.only(bench.module(one.bytes(), base=base.bytes()))
    assert (found["outcome"], found["cause"]) == ("REJECTED", "base does not fit")
    assert "'kernel_struct_7' [1] is not mapped to base BTF id" in found["advice"]
    assert "has 8 bytes in the module's base, 4 in vmlinux" in found["advice"]


def test_the_configuration_decides_what_a_refusal_costs(bench: Bench) -> None:
    path = bench.module(b"\0" * 40)
    assert bench.only(path)["outcome"] == "REJECTED"
    assert bench.only("--allow-mismatch", path)["outcome"] == "DROPPED"
    (bench.folder / f"config-{RELEASE}").write_text("CONFIG_MODULE_ALLOW_BTF_MISMATCH=y\n")
    assert bench.only(path)["outcome"] == "DROPPED"
    assert bench.only("--no-allow-mismatch", path)["outcome"] == "REJECTED"


def test_a_refused_vmlinux_is_named_as_the_cause(bench: Bench) -> None:
    bench.base.records[0][1] |= 1  # an INT with a vlen
    bench.vmlinux.write_bytes(images.vmlinux(bench.base.bytes()))
    one = bench.only(bench.module(pair.split(bench.base).bytes()))
    assert (one["outcome"], one["cause"]) == ("REJECTED", "vmlinux refused")
    assert one["kernel_log"] == ["failed to validate module [m] BTF: -22"]


def test_the_rules_follow_the_version(bench: Bench) -> None:
    tagged = pair.split(bench.base)
    tagged.add(sk.DECL_TAG, tagged.string("tag"), pair.INT, 0xFFFF_FFFF, kflag=1)
    path = bench.module(tagged.bytes())
    one = bench.only("--kernel-version", "6.12", path)
    assert (one["outcome"], one["cause"]) == ("REJECTED", "newer pahole")
    assert bench.only("--kernel-version", "6.15", path)["outcome"] == "VERIFIED"
    done = bench.check("--kernel-version", "six", path)
    assert (done.exit_code, "--kernel-version six: not a version" in done.stderr) == (2, True)


def test_raw_btf_takes_its_version_from_the_modules(bench: Bench) -> None:
    raw = bench.folder / "raw"
    raw.write_bytes(bench.base.bytes())
    bench.vmlinux = raw
    done = bench.check(bench.module(pair.split(bench.base).bytes()))
    assert done.exit_code == 0
    assert "rules of 6.12" in done.stdout
    assert "is taken to be off" in done.stderr


@pytest.mark.parametrize("name", ["m", "m.btf", "m.ko"])
def test_raw_split_btf_is_a_module_of_its_files_name(bench: Bench, name: str) -> None:
    path = bench.folder / name
    path.write_bytes(pair.split(bench.base).bytes())
    one = bench.only(path)
    assert (one["name"], one["outcome"], one["cause"]) == ("m", "VERIFIED", "")
    assert one["loader_checks"] is False
    assert "1 raw BTF: what the module loader asks" in bench.check(path).stdout
    healthy = bench.module(pair.split(bench.base).bytes(), "healthy.ko")
    assert [one["loader_checks"] for one in bench.modules(path, healthy)] == [False, True]


def test_raw_split_btf_of_another_vmlinux_is_refused_or_flagged_as_a_modules_is(bench: Bench) -> None:
    written_for = pair.vmlinux()
    written_for.add(sk.PTR, 0, written_for.add(sk.PTR, 0, pair.INT))
    path = bench.folder / "m"
    path.write_bytes(pair.split(written_for).bytes())
    one = bench.only(path)
    assert (one["outcome"], one["cause"]) == ("VERIFIED", "relinked")
    assert "Whether their version strings agree cannot be told" in one["advice"]
    assert "out-of-tree" not in one["advice"]
    path.write_bytes(pair.split(bench.base).bytes()[:-10])
    assert bench.only(path)["cause"] == "truncated"


def test_btf_that_was_written_with_no_base_is_named(bench: Bench) -> None:
    full = sk.Sketch(strings=bytearray(b"\0"))
    for number in range(40):
        full.add(sk.FUNC, full.string(f"function_{number}"), full.add(sk.FUNC_PROTO))
    assert bench.only(bench.module(full.bytes()))["cause"] == "full BTF"


def test_btf_of_the_other_byte_order_is_named(bench: Bench) -> None:
    whole = pair.split(bench.base).bytes()
    # The kernel reads the header's length before the magic.
    for swapped, rule in ((sk.turned(whole), "header.whole"), (whole[1::-1] + whole[2:], "header.magic")):
        one = bench.only(bench.module(swapped))
        assert (one["outcome"], one["rule"], one["cause"]) == ("REJECTED", rule, "other byte order")
        assert "this kernel is little-endian" in one["advice"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("text.ko", b"hello", "not a readable ELF file: no ELF magic"),
        ("two.ko", b"hi", "not a readable ELF file: no ELF magic"),
        ("two", b"\x9f\xeb", "raw BTF cut short: 2 bytes, its header has 24"),
        ("empty.ko", b"", "not a readable ELF file: it is empty"),
        ("cut.ko.xz", b"\xfd7zXZ\0cut", "cannot be unpacked as xz"),
    ],
)
def test_what_is_no_module_is_unreadable_and_the_others_go_on(
    bench: Bench, name: str, data: bytes, words: str
) -> None:
    (bench.folder / name).write_bytes(data)
    healthy = bench.module(pair.split(bench.base).bytes(), "healthy.ko")
    bad, good = bench.modules(bench.folder / name, healthy)
    assert (bad["outcome"], bad["cause"], good["outcome"]) == ("UNREADABLE", "unreadable", "VERIFIED")
    assert words.lower() in bad["advice"].lower()
    done = bench.check(bench.folder / name, healthy)
    assert done.exit_code == 1
    assert "1 accepted, 0 flagged, 1 unreadable" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("vmlinux", "words"),
    [
        (lambda base: pair.split(base).bytes(), "split BTF, which is a module's and not vmlinux's"),
        (lambda base: b"\x9f\xeb", "raw BTF cut short: 2 bytes, its header has 24"),
        (lambda base: b"hi", "not a vmlinux, a boot image or raw BTF"),
        (lambda base: b"", "not a vmlinux, a boot image or raw BTF"),
    ],
)
def test_what_can_be_no_kernel_to_judge_by_costs_one_line(
    bench: Bench, vmlinux: Callable[[Sketch], bytes], words: str
) -> None:
    path = bench.module(pair.split(bench.base).bytes())
    bench.vmlinux.write_bytes(vmlinux(bench.base))
    done = bench.check("--json", path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"kbtf-ci: {bench.vmlinux}: {words}" in done.stderr


@pytest.mark.parametrize("cut", [8, 100, -1])
def test_a_vmlinux_whose_btf_was_cut_is_no_matter_of_pahole(bench: Bench, cut: int) -> None:
    path = bench.module(pair.split(bench.base).bytes())
    bench.vmlinux.write_bytes(images.vmlinux(bench.base.bytes()[:cut]))
    one = bench.only(path)
    assert (one["outcome"], one["cause"]) == ("REJECTED", "vmlinux refused")
    assert "cut short or damaged" in one["advice"]
    assert "pahole that" not in one["advice"]


def test_a_version_without_split_btf_is_an_error(bench: Bench) -> None:
    path = bench.module(pair.split(bench.base).bytes())
    done = bench.check("--kernel-version", "4.19", path)
    assert done.exit_code == 2
    assert "--kernel-version 4.19: Linux 4.19 knows no split BTF, which came with 5.11" in done.stderr
    bench.vmlinux.write_bytes(
        images.vmlinux(bench.base.bytes()).replace(b"6.12.107+deb13", b"4.18.0-553.el8")
    )
    done = bench.check(path)
    assert done.exit_code == 2
    assert f"{bench.vmlinux}: Linux 4.18 knows no split BTF" in done.stderr
    # A distribution's kernel may have it all the same.
    assert bench.check("--kernel-version", "5.14", path).exit_code == 1


@pytest.mark.parametrize(
    ("version", "known"), [("5.11", True), ("7.3", True), ("7.4", False), ("8.0", False)]
)
def test_rules_that_are_not_known_are_a_warning(bench: Bench, version: str, known: bool) -> None:
    path = bench.module(pair.split(bench.base).bytes())
    done = bench.check("--kernel-version", version, "--json", path)
    warned = f"the rules of Linux {version} are not known: those of 7.3 are taken" in " ".join(
        done.stderr.split()
    )
    assert (done.exit_code, warned) == (0, not known)
    assert len(json.loads(done.stdout)["warnings"]) == (0 if known else 1)


@pytest.fixture
def run(bench: Bench) -> RunDirectory:
    """A run directory: the kernel, a module and its stripped copy, which is as stale as no other."""
    run = RunDirectory(bench.folder / "run")
    healthy = pair.split(bench.base).bytes()
    for tree, btf in ((run.modules, healthy), (run.guest_modules, healthy[:30])):
        (tree / "kernel").mkdir(parents=True)
        bench.module(btf, str((tree / "kernel/m.ko").relative_to(bench.folder)))
    run.write_record(run_record(kernel={"release": "6.12.0"}))
    (run.kernel / "bzImage").write_bytes(images.bzimage(images.vmlinux(bench.base.bytes(), config=None)))
    run.file("kernel.config").write_text("CONFIG_MODULE_ALLOW_BTF_MISMATCH=y\n")
    return run


def checked(*words: Path | str) -> tuple[list[tuple[str, str]], list[str]]:
    done = CliRunner().invoke(main, ["check", "--json", *map(str, words)])
    assert done.exit_code in (0, 1), done.stderr
    values = json.loads(done.stdout)
    return [(Path(one["file"]).name, one["outcome"]) for one in values["modules"]], values["warnings"]


def test_a_run_directory_means_its_own_modules_kernel_and_configuration(
    bench: Bench, run: RunDirectory
) -> None:
    assert checked(run.path) == ([("m.ko", "VERIFIED")], [])
    (run.modules / "kernel/m.ko").write_bytes((run.guest_modules / "kernel/m.ko").read_bytes())
    assert checked(run.path) == ([("m.ko", "DROPPED")], [])
    assert checked("--no-allow-mismatch", run.path) == ([("m.ko", "REJECTED")], [])


def test_with_another_kernel_a_run_directory_still_means_its_own_modules(
    bench: Bench, run: RunDirectory
) -> None:
    (run.modules / "kernel/m.ko").write_bytes((run.guest_modules / "kernel/m.ko").read_bytes())
    bench.vmlinux.write_bytes(images.vmlinux(bench.base.bytes(), config=None))
    assert checked("--vmlinux", bench.vmlinux, run.path) == ([("m.ko", "DROPPED")], [])
    # That kernel's own configuration comes before the run's.
    bench.vmlinux.write_bytes(images.vmlinux(bench.base.bytes(), config=b"CONFIG_SMP=y\n"))
    assert checked("--vmlinux", bench.vmlinux, run.path) == ([("m.ko", "REJECTED")], [])


def test_a_run_directory_stands_beside_other_modules(bench: Bench, run: RunDirectory) -> None:
    other = bench.module(pair.split(bench.base).bytes(), "other.ko")
    assert checked(run.path, other) == ([("m.ko", "VERIFIED"), ("other.ko", "VERIFIED")], [])
    assert checked(other, other, "--vmlinux", bench.vmlinux)[0] == [("other.ko", "VERIFIED")]


def test_of_two_run_directories_the_kernel_must_be_named(bench: Bench, run: RunDirectory) -> None:
    second = bench.folder / "second"
    shutil.copytree(run.path, second)
    done = CliRunner().invoke(main, ["check", str(run.path), str(second)])
    assert (done.exit_code, "name one: --vmlinux" in done.stderr) == (2, True)
    assert len(checked("--vmlinux", bench.vmlinux, run.path, second)[0]) == 2


def test_without_a_kernel_the_way_out_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.ko"
    path.write_bytes(images.module())
    done = CliRunner().invoke(main, ["check", str(path)])
    assert (done.exit_code, "--vmlinux FILE" in done.stderr) == (2, True)
