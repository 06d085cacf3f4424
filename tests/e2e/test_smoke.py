# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The main job on real input: real engine, kernel, QEMU and SSH."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import BUILD_S, Cli, results
from tests.support.schemas import valid


def test_every_module_is_verified(smoke_run: Path) -> None:
    values = results(smoke_run)
    assert values["totals"]["verified"] == values["totals"]["modules"] >= 20
    for module in values["modules"]:
        assert module["outcome"] == "VERIFIED"
        assert module["sysfs_sha256"] == module["btf_sha256"]
        assert module["btf_bytes"] > 0


def test_both_load_modes_were_needed(smoke_run: Path) -> None:
    modules = {module["name"]: module for module in results(smoke_run)["modules"]}
    assert modules["ext2"]["load"] == "real"
    it87 = modules["it87"]
    assert (it87["load"], it87["earlier"][0]["errno"]) == ("inert", -19)


def test_the_run_directory_holds_the_run(smoke_run: Path) -> None:
    for name in (
        "run.json", "requested.config", "kernel.config", "build.log", "console.log", "kmsg.log", "junit.xml",
        "results.ktap", "summary.md", "report.html", "kernel/bzImage", "kernel/vmlinux", "kernel/System.map",
    ):  # fmt: skip
        assert (smoke_run / name).stat().st_size > 0, name
    valid("functions", json.loads(gzip.decompress((smoke_run / "kernel/functions.json.gz").read_bytes())))
    run = json.loads((smoke_run / "run.json").read_text())
    valid("run", run)
    assert run["status"] == "done"
    assert set(run["stages"]) == {
        "toolchain", "source", "configure", "build", "copy", "check", "guest image", "guest",
    }  # fmt: skip
    assert run["toolchain"]["packages"]["pahole"]
    # Where KVM passes its check and runs no kernel, the first boot has said nothing.
    assert "\n[    0.000000] Linux version" in f"\n{(smoke_run / 'console.log').read_text()}"


def test_a_second_run_compiles_nothing_and_two_at_once_pass(cli: Cli, smoke_run: Path) -> None:
    both = [cli.start("run", "--config", "smoke", "-o", name) for name in ("one", "two")]
    for process in both:
        _, err = process.communicate(timeout=BUILD_S)
        assert process.returncode == 0, err
    for name in ("one", "two"):
        run = json.loads((cli.folder / name / "run.json").read_text())
        assert not {"CC", "CC [M]", "AS", "BTF", "BTF [M]"} & set(run["make"])
        assert results(cli.folder / name)["totals"] == results(smoke_run)["totals"]


def test_without_a_tracer_the_kernel_is_said_to_take_no_such_program(cli: Cli, smoke_run: Path) -> None:
    """The profile has none; "run --prove" brings it, and "verify" takes the kernel as it is."""
    run = shutil.copytree(smoke_run, cli.folder / "copy", ignore=shutil.ignore_patterns("*.cpio"))
    done = cli("verify", run, "--prove", "all")
    assert done.returncode == 1, done.stderr
    (fentry,) = (line for line in done.stdout.splitlines() if "fentry" in line)
    assert "takes no fentry program on vmlinux either" in fentry
    (kfunc,) = (line for line in done.stdout.splitlines() if "kfunc" in line)
    assert "takes no program that calls a kfunc (ENOTSUPP: JIT is required" in kfunc
    assert all("CONFIG_BPF_JIT" in line for line in (fentry, kfunc))
    values = results(run)
    assert values["totals"]["verified"] == values["totals"]["modules"]
    assert (values["proof"]["functions"], values["proof"]["differences"]) == (0, [])
    assert (values["kfunc_proof"]["kfuncs"], values["kfunc_proof"]["differences"]) == (0, [])
    assert cli("verify", run, "--prove", "fentry", "--load", "carrier").returncode == 2


@pytest.mark.full
def test_with_a_tracer_functions_and_kfuncs_are_as_predicted(cli: Cli, smoke_run: Path) -> None:
    done = cli("run", "--config", "smoke", "--prove", "all", "-o", "traced")
    assert done.returncode == 0, done.stdout + done.stderr
    values = results(cli.folder / "traced")
    proof, kfuncs = values["proof"], values["kfunc_proof"]
    assert (proof["differences"], proof["unreached"], proof["cannot"]) == ([], [], None)
    assert proof["functions"] > 1000
    assert (kfuncs["differences"], kfuncs["refused"], kfuncs["cannot"]) == ([], [], None)
    assert kfuncs["callable"] > 50
    assert {one["name"] for one in kfuncs["live"]} == {"conntrack", "cpumask"}
    assert "CONFIG_FUNCTION_TRACER=y" in (cli.folder / "traced/kernel.config").read_text()
    assert "CONFIG_FUNCTION_TRACER=y" not in (smoke_run / "kernel.config").read_text()
    misdescribed = ("func-of-another-prototype", "argument-of-another-struct")
    done = cli("repro", "run", "traced", *misdescribed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "2 ok, 0 wrong, 0 do not apply"
