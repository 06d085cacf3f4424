# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bundle of a module that the kernel refuses: made, handed on, and replayed without us and by us."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.runner import Command, Mount, run
from kbtf_ci.model.bundle import MANIFEST, MEMBERS
from tests.e2e.conftest import Cli
from tests.e2e.test_red import btf_offset
from tests.support.bundles import altered
from tests.support.schemas import valid

MAGIC = ["BPF: Invalid magic", "failed to validate module [ext2] BTF: -22"]


@pytest.fixture
def bundle(cli: Cli, spare_run: Path) -> Path:
    module = next((spare_run / "kernel/modules").rglob("ext2.ko"))
    with module.open("r+b") as file:
        file.seek(btf_offset(module))
        file.write(b"\x9e")
    assert cli("verify", spare_run).returncode == 1
    done = cli("repro", "bundle", spare_run, "ext2", "-o", "first.tar.gz")
    assert done.returncode == 0, done.stderr
    assert "ext2 on 6." in done.stdout
    return cli.folder / "first.tar.gz"


def test_a_bundle_boots_anywhere_and_says_what_was_recorded(
    cli: Cli, bundle: Path, spare_run: Path, engine: Engine, toolchain: Toolchain
) -> None:
    assert cli("repro", "bundle", spare_run, "ext2", "-o", "second.tar.gz").returncode == 0
    assert (cli.folder / "second.tar.gz").read_bytes() == bundle.read_bytes()
    shutil.rmtree(spare_run)

    elsewhere = cli.folder / "else where"
    elsewhere.mkdir()
    moved = bundle.rename(elsewhere / "b.tar.gz")
    done = cli("repro", "replay", moved, "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["same"] is True
    assert values["observed"] == {"errno": -22, "sysfs_sha256": None, "kernel_log": MAGIC}

    with tarfile.open(moved) as archive:
        archive.extractall(elsewhere, filter="data")
    (folder,) = (path for path in elsewhere.iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == set(MEMBERS)
    valid("bundle", json.loads((folder / MANIFEST).read_bytes()))
    # Plain QEMU, no network, and none of our programs: the image serves for its QEMU alone.
    command = Command((f"/b/{folder.name}/boot.sh",), (Mount(elsewhere, "/b"),))
    by_script = run(engine.runner(toolchain.image), command)
    assert (by_script.status, by_script.text.splitlines()[-1]) == (0, "the same as recorded"), by_script.text

    # The host's name alone may be a few letters, which seven megabytes hold by chance.
    whose = f"{getpass.getuser()}@{socket.gethostname()}"
    for text in (str(cli.folder), str(cache_root()), whose):
        holding = [path.name for path in folder.iterdir() if text.encode() in path.read_bytes()]
        assert (text, holding) == (text, [])


def test_a_kernel_that_does_otherwise_than_recorded_ends_with_1(cli: Cli, bundle: Path) -> None:
    other = altered(bundle, cli.folder / "other.tar.gz", lambda values: values.update(errno=8, log=MAGIC[1:]))
    done = cli("repro", "replay", other)
    assert done.returncode == 1
    assert "errno 22 where 8 was recorded" in done.stdout
    assert "other lines on the module's BTF in the kernel's log" in done.stdout
    (cli.folder / "none.tar.gz").write_bytes(b"none")
    refused = cli("repro", "replay", "none.tar.gz")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
