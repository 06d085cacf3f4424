# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The offline check on real modules: what it predicts is what the kernel does, and it names the cause."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.runner import Command, Mount, run
from kbtf_ci.objfile.elf import ElfImage
from kbtf_ci.objfile.files import read_kernel_file, read_module_file
from tests.e2e.conftest import Cli, results
from tests.support import sketch as sk
from tests.support.images import EXEC, Part, build, module

# Modules big enough for their BTF to give away where it came from.
REFUSED, SILENT, STRIPPED, TRUNCATED = "nf_conntrack", "ext2", "xt_state", "tun"
ENCODE = """
set -e
cd /run/modules
objcopy -R .BTF "$1"
export LLVM_OBJCOPY=objcopy
exec pahole -J --btf_base "/run/$2" "$1"
"""


def with_a_function_more(vmlinux: bytes) -> bytes:
    sketch = sk.read(vmlinux)
    proto = sketch.add(sk.FUNC_PROTO)
    sketch.add(sk.FUNC, sketch.string("kbtf_ci_new_function"), proto, vlen=1)
    return sketch.bytes()


def with_two_types_less(vmlinux: bytes) -> bytes:
    """No string changes, so that hardly any check of the kernel's can notice."""
    sketch = sk.read(vmlinux)
    del sketch.records[-2:]
    return sketch.bytes()


@pytest.fixture
def spoilt(spare_run: Path, engine: Engine, toolchain: Toolchain) -> Path:
    """A run directory with four modules spoilt, each in its own way."""
    modules = spare_run / "kernel/modules"
    paths = {path.stem: path for path in modules.rglob("*.ko")}
    vmlinux = read_kernel_file(spare_run / "kernel/vmlinux").btf
    (spare_run / "kernel/more.btf").write_bytes(with_a_function_more(vmlinux))
    (spare_run / "kernel/less.btf").write_bytes(with_two_types_less(vmlinux))
    whole = read_module_file(paths[TRUNCATED]).btf
    assert whole
    (spare_run / "kernel/cut.btf").write_bytes(whole[:-100])
    runner = engine.runner(toolchain.image)
    mounts = (Mount(spare_run / "kernel", "/run", writable=True),)

    def done(*argv: str) -> None:
        completed = run(runner, Command(argv, mounts))
        assert completed.status == 0, completed.text

    def inside(name: str) -> str:
        return str(paths[name].relative_to(modules))

    done("sh", "-c", ENCODE, "sh", inside(REFUSED), "more.btf")
    done("sh", "-c", ENCODE, "sh", inside(SILENT), "less.btf")
    done("objcopy", "-R", ".BTF", f"/run/modules/{inside(STRIPPED)}")
    done("objcopy", "--update-section", ".BTF=/run/cut.btf", f"/run/modules/{inside(TRUNCATED)}")
    return spare_run


def test_no_healthy_module_is_refused_or_flagged(cli: Cli, smoke_run: Path) -> None:
    done = cli("check", smoke_run, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    totals = json.loads(done.stdout)["totals"]
    assert totals["modules"] == totals["accepted"] >= 50
    assert totals["flagged"] == 0


def test_the_cause_of_each_fault_is_named(cli: Cli, spoilt: Path) -> None:
    done = cli("check", spoilt, "--json")
    assert done.returncode == 1, done.stderr
    faults = {one["name"]: one for one in json.loads(done.stdout)["modules"] if one["cause"]}
    assert {name: (one["outcome"], one["cause"]) for name, one in faults.items()} == {
        REFUSED: ("REJECTED", "relinked"),
        SILENT: ("VERIFIED", "relinked"),
        STRIPPED: ("NO_BTF", "stripped"),
        TRUNCATED: ("REJECTED", "truncated"),
    }
    assert "(-2 types, -21 string bytes)" in faults[REFUSED]["advice"]
    assert "(+2 types, +0 string bytes)" in faults[SILENT]["advice"]
    assert faults[SILENT]["misfit"]
    assert "100 bytes are missing" in faults[TRUNCATED]["advice"]


def test_the_kernel_does_what_was_foretold(cli: Cli, spoilt: Path) -> None:
    done = cli("verify", spoilt, "--load", "carrier")
    values = results(spoilt)
    outcomes = {one["name"]: one["outcome"] for one in values["modules"] if one["outcome"] != "VERIFIED"}
    assert outcomes == {REFUSED: "REJECTED", STRIPPED: "NO_BTF", TRUNCATED: "REJECTED"}
    assert values["disagreements"] == []
    assert f"{SILENT} loads, but its BTF does not belong to this vmlinux" in done.stdout
    assert done.returncode == 1


def test_a_prediction_that_the_kernel_does_not_keep_to_is_shown(cli: Cli, spare_run: Path) -> None:
    """The check is told of another configuration than the one that boots."""
    config = spare_run / "kernel.config"
    config.write_text(config.read_text() + "CONFIG_MODULE_ALLOW_BTF_MISMATCH=y\n")
    path = next((spare_run / "kernel/modules").rglob("ext2.ko"))
    btf = read_module_file(path).btf
    assert btf
    data = path.read_bytes()
    path.write_bytes(data.replace(btf[:8], b"\x9e" + btf[1:8], 1))
    done = cli("verify", spare_run, "--load", "carrier")
    assert results(spare_run)["disagreements"] == ["ext2"]
    assert "PREDICTION AND KERNEL DISAGREE on ext2" in done.stdout
    assert "predicted: DROPPED" in done.stdout
    assert "observed: REJECTED EINVAL (-22)" in done.stdout


def test_a_kernel_with_another_versions_number_is_judged_by_what_its_own_btf_says(
    cli: Cli, spare_run: Path
) -> None:
    release = results(spare_run)["kernel"]["release"].encode()
    older = b"5.14.".ljust(len(release), b"0")
    paths = [spare_run / "kernel/vmlinux", *(spare_run / "kernel/modules").rglob("*.ko")]
    for path in paths:
        data = path.read_bytes()
        assert release in data
        path.write_bytes(data.replace(release, older))
    words: tuple[str | Path, ...] = ("check", "--json", "--vmlinux", *paths)
    done = cli(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads(done.stdout)
    assert (values["kernel"]["release"].encode(), values["kernel"]["rules"]) == (older, "5.14")
    assert {"last_kind", "relocates", "chains"} <= set(values["kernel"]["rules_read_off"])
    # By the number alone, vmlinux's own BTF would be refused for its kinds.
    named = cli(*words, "--kernel-version", "5.14")
    assert named.returncode == 1
    assert {one["outcome"] for one in json.loads(named.stdout)["modules"]} == {"REJECTED"}


def test_a_kfunc_that_was_never_resolved_is_named_before_any_boot(cli: Cli, spare_run: Path) -> None:
    """tcp_bbr registers a set of kfuncs; what resolve_btfids leaves of one that it does not find is 0."""
    path = next((spare_run / "kernel/modules").rglob("tcp_bbr.ko"))
    clean = cli("check", spare_run, "--json")
    assert clean.returncode == 0, clean.stdout
    data = path.read_bytes()
    section = ElfImage(data).find(".BTF_ids")
    assert section
    at = section.offset + 8  # behind the set's count and flags: the first id
    path.write_bytes(data[:at] + bytes(4) + data[at + 4 :])
    done = cli("check", spare_run, "--json")
    assert done.returncode == 1
    entries = {one["name"]: one for one in json.loads(done.stdout)["modules"]}
    (one,) = entries["tcp_bbr"]["unusable"]
    assert (entries["tcp_bbr"]["outcome"], one["rule"]) == ("VERIFIED", "kfunc.id")
    assert one["kfunc"].startswith("bbr_")
    assert not any(entry["unusable"] for name, entry in entries.items() if name != "tcp_bbr")
    alone = cli("check", "--vmlinux", spare_run / "kernel/vmlinux")
    assert (alone.returncode, "0 modules" in alone.stdout) == (0, True)


def altered(run: Path, version: bytes) -> None:
    """Have kernel and modules of a run call themselves by another version of 6.12's length."""
    for path in (run / "kernel/vmlinux", *(run / "kernel/modules").rglob("*.ko")):
        data = path.read_bytes().replace(b"Linux version 6.12.", b"Linux version " + version)
        path.write_bytes(data.replace(b"vermagic=6.12.", b"vermagic=" + version))


def test_a_kernel_that_calls_itself_5_14_is_judged_by_what_its_btf_says(cli: Cli, spare_run: Path) -> None:
    """As RHEL 9's, which has ENUM64 and calls itself 5.14; 6.12's own bytes stand in for it."""
    altered(spare_run, b"5.14.")
    words = ("--vmlinux", spare_run / "kernel/vmlinux", spare_run / "kernel/modules")
    found = json.loads(cli("check", "--json", *words).stdout)
    assert found["kernel"]["rules"] == "5.14"
    assert {"last_kind", "enum_kflag"} <= set(found["kernel"]["rules_read_off"])
    totals = found["totals"]
    assert totals["modules"] == totals["accepted"] >= 50
    assert totals["flagged"] == 0
    by_version = json.loads(cli("check", "--json", "--kernel-version", "5.14", *words).stdout)
    assert by_version["kernel"]["rules_read_off"] == []
    assert by_version["totals"]["rejected"] == totals["modules"]


def test_vmlinux_btf_in_a_module_is_the_base(cli: Cli, spare_run: Path) -> None:
    """CONFIG_DEBUG_INFO_BTF=m as proposed (bpf@vger.kernel.org, 23 September 2026), around real BTF."""
    real = read_kernel_file(spare_run / "kernel/vmlinux")
    meta = struct.pack("<I", len(real.btf)) + hashlib.sha256(real.btf).digest()
    image = spare_run / "vmlinux"
    parts = [Part(".rodata", real.banner.encode() + b"\n\0"), Part(".BTF.meta", meta)]
    image.write_bytes(build(parts, kind=EXEC))
    tree = spare_run / "kernel/modules"
    done = cli("check", "--vmlinux", image, tree)
    assert (done.returncode, "whose BTF is in btf_vmlinux.ko" in done.stderr) == (2, True)
    carrier = tree / "kernel/kernel/bpf/btf_vmlinux.ko"
    carrier.parent.mkdir(parents=True, exist_ok=True)
    info = f"vermagic={real.release} SMP \0name=btf_vmlinux\0".encode()
    carrier.write_bytes(module(btf=real.btf, base=None, modinfo=info))
    for kernel in (image, carrier):
        done = cli("check", "--json", "--vmlinux", kernel, tree)
        assert done.returncode == 0, done.stderr
        totals = json.loads(done.stdout)["totals"]
        assert totals["modules"] == totals["accepted"] >= 50
    carrier.write_bytes(module(btf=with_two_types_less(real.btf), base=None, modinfo=info))
    done = cli("check", "--vmlinux", image, tree)
    assert (done.returncode, "is not the one that .BTF.meta" in done.stderr) == (2, True)
