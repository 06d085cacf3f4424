# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The red side: what is wrong with a module is found, named, and changes the exit code."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.runner import Command, Mount, run
from tests.e2e.conftest import Cli, results


def btf_offset(path: Path) -> int:
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".BTF")
        assert section
        offset: int = section["sh_offset"]
        return offset


def test_spoilt_modules_are_named_and_the_rest_is_verified(
    cli: Cli, spare_run: Path, engine: Engine, toolchain: Toolchain
) -> None:
    modules = spare_run / "kernel/modules"
    flipped = next(modules.rglob("ext2.ko"))
    with flipped.open("r+b") as file:
        file.seek(btf_offset(flipped))
        file.write(b"\x9e")
    stripped = next(modules.rglob("tun.ko"))
    folder = Mount(stripped.parent, "/modules", writable=True)
    objcopy = Command(("objcopy", "-R", ".BTF", "/modules/tun.ko"), (folder,))
    assert run(engine.runner(toolchain.image), objcopy).status == 0

    done = cli("verify", spare_run)

    assert done.returncode == 1, done.stderr
    values = results(spare_run)
    faults = {module["name"]: module for module in values["modules"] if module["outcome"] != "VERIFIED"}
    assert {name: fault["outcome"] for name, fault in faults.items()} == {"ext2": "REJECTED", "tun": "NO_BTF"}
    assert faults["ext2"]["errno"] == -22
    assert faults["ext2"]["kernel_log"] == ["BPF: Invalid magic", "failed to validate module [ext2] BTF: -22"]
    assert values["totals"]["verified"] == values["totals"]["modules"] - 2
    assert "REJECTED ext2" in done.stdout
    assert "failed to validate module [ext2] BTF: -22" in done.stdout
    assert "NO_BTF tun" in done.stdout


def test_a_kernel_that_panics_at_boot_ends_with_4_and_its_console(cli: Cli, spare_run: Path) -> None:
    done = cli("verify", spare_run, "--accel", "tcg", "--append", "rdinit=/nosuch init=/nosuch")
    assert done.returncode == 4, done.stderr
    assert "Kernel panic - not syncing" in done.stderr
    assert "Traceback" not in done.stderr
    assert results(spare_run)["totals"]["not_reached"] == results(spare_run)["totals"]["modules"]


def test_bisect_skips_what_says_nothing_of_the_commit(cli: Cli) -> None:
    assert cli("run", "--config", "nosuch", "--bisect").returncode == 125


def test_git_bisect_sees_a_bad_module(cli: Cli, spare_run: Path) -> None:
    module = next((spare_run / "kernel/modules").rglob("ext2.ko"))
    with module.open("r+b") as file:
        file.seek(btf_offset(module) + 2)
        file.write(b"\x02")
    done = cli("verify", spare_run, "--bisect", "--quiet", "--junit", "junit.xml")
    assert done.returncode == 1
    faults = [module for module in results(spare_run)["modules"] if module["outcome"] != "VERIFIED"]
    assert [(fault["name"], fault["outcome"], fault["errno"]) for fault in faults] == [
        ("ext2", "REJECTED", -524)
    ]
    assert "REJECTED" in (cli.folder / "junit.xml").read_text()
