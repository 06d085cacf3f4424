# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels that others built: a distribution's package as it is, and a tree as modules_install leaves it."""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kbtf_ci.objfile.elf import ElfImage, Section
from tests.e2e.conftest import Cli, results


def test_every_module_of_a_distributions_package_is_verified(cli: Cli, package: Path) -> None:
    done = cli("verify", "--kernel", package, "--load", "carrier", "--guests", "2", "-o", "run")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    values = results(cli.folder / "run")
    assert values["totals"]["modules"] == values["totals"]["verified"] > 1000
    assert values["disagreements"] == []
    # What the network needed was loaded for real, before the network was there.
    real = {one["name"] for one in values["modules"] if one["load"] == "real"}
    assert {"virtio_net", "failover"} <= real
    assert values["kernel"]["release"].endswith("-cloud-amd64")
    assert values["guest"]["guests"] == 2


def test_fentry_programs_do_as_predicted_on_a_distributions_module(cli: Cli, package: Path) -> None:
    """Of its kernel: ours has what they need only where it was asked for."""
    module = next((package.parent / "tree").rglob("xfs.ko.xz"))
    words = ("--extra", module, "--extra-only", "--prove", "fentry", "-o", "run")
    done = cli("verify", "--kernel", package, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    proof = results(cli.folder / "run")["proof"]
    assert (proof["cannot"], proof["ended"], proof["differences"]) == (None, None, [])
    assert proof["as_predicted"]["attachable"] > 2000
    assert all(proof["as_predicted"].values()), proof  # of each class there is one in it
    assert sum(proof["as_predicted"].values()) == proof["functions"]
    # A module it needs may have no function that a program can be attached to.
    assert 1 <= proof["attached"] <= proof["modules"]


@pytest.mark.full
def test_fentry_programs_do_as_predicted_on_every_function_of_a_distribution(cli: Cli, package: Path) -> None:
    done = cli("verify", "--kernel", package, "--prove", "fentry", "-o", "run")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    values = results(cli.folder / "run")
    # Signed modules: what is loaded without its code running has lost its signature.
    assert values["totals"]["verified"] == values["totals"]["modules"] > 1000
    assert values["modes"]["inert"] > 0
    proof = values["proof"]
    assert (proof["differences"], proof["unreached"]) == ([], [])
    assert proof["functions"] > 50_000


def spoilt(path: Path, spoil: Callable[[bytearray, Section], None]) -> None:
    data = bytearray(path.read_bytes())
    section = ElfImage(bytes(data), path.name).find(".BTF")
    assert section
    spoil(data, section)
    path.write_bytes(data)


def flip_magic(data: bytearray, section: Section) -> None:
    data[section.offset] = 0x9E


def rename_section(data: bytearray, section: Section) -> None:
    at = data.index(b"\0.BTF\0")
    data[at + 1 : at + 5] = b".XTF"


def test_exactly_the_spoilt_modules_of_a_tree_are_named(cli: Cli, smoke_run: Path, tmp_path: Path) -> None:
    release = results(smoke_run)["kernel"]["release"]
    tree = tmp_path / "installed"
    folder = tree / "lib/modules" / release
    shutil.copytree(smoke_run / "kernel/modules", folder)
    spoilt(next(folder.rglob("ext2.ko")), flip_magic)
    spoilt(next(folder.rglob("tun.ko")), rename_section)
    for path in sorted(folder.rglob("*.ko"))[::2]:
        path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=0))
        path.unlink()
    (folder / "cut short.ko").write_bytes(next(folder.rglob("*.ko")).read_bytes()[:-70])
    (folder / "gone.ko").symlink_to("nowhere")
    (folder / "updates").mkdir()
    odd = ("ext2.ko", "tun.ko", "cut short.ko", "gone.ko")
    whole = next(path for path in folder.rglob("*.ko") if path.name not in odd)
    shutil.copy(whole, folder / "updates" / "its own\nname.ko")
    image = smoke_run / "kernel/bzImage"
    config = smoke_run / "kernel.config"
    shutil.copy(config, folder / "config")
    done = cli("verify", "--kernel", image, "--modules", tree, "-o", "run")
    assert done.returncode == 1, done.stdout + done.stderr
    values = results(cli.folder / "run")
    faults = {one["name"]: one["outcome"] for one in values["modules"] if one["outcome"] != "VERIFIED"}
    unreadable = {"cut short": "UNREADABLE", "gone": "UNREADABLE"}
    assert faults == {"ext2": "REJECTED", "tun": "NO_BTF", **unreadable}
    # Of two files of one module modprobe takes the one below updates/, whatever its name.
    (overridden,) = values["overridden"]
    assert overridden["by"] == "updates/its own\nname.ko"
    assert "updates/its own\\nname.ko in its place" in done.stdout
    assert values["disagreements"] == []


def test_a_run_directory_and_a_kernel_at_once_are_refused(cli: Cli, smoke_run: Path) -> None:
    done = cli("verify", smoke_run, "--kernel", smoke_run / "kernel/bzImage")
    assert (done.returncode, "either a run directory or --kernel" in done.stderr) == (2, True)


def test_modules_of_another_release_are_refused_with_both_names(
    cli: Cli, smoke_run: Path, tmp_path: Path
) -> None:
    release = results(smoke_run)["kernel"]["release"]
    shutil.copytree(smoke_run / "kernel/modules", tmp_path / "lib/modules/6.1.0-other")
    done = cli("verify", "--kernel", smoke_run / "kernel/bzImage", "--modules", tmp_path)
    assert done.returncode == 2
    assert release in done.stderr
    assert "6.1.0-other" in done.stderr
