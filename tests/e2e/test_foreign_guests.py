# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Debian's kernels for other architectures, each booted emulated, and every module of it verified."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import FOREIGN, machine_of
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT, ElfImage
from tests.e2e.conftest import Cli, results
from tests.e2e.test_architectures import DOWNLOAD, WITH_BTF

pytestmark = pytest.mark.full


@dataclass(frozen=True)
class Debian:
    """Debian's kernel for one architecture, as its package unpacks."""

    machine: MachineType
    tree: Path

    def module(self, name: str) -> Path:
        """Return the file of one of its modules."""
        return next(self.tree.rglob(f"{name}.ko*"))


@pytest.fixture(scope="module", params=[machine.name for machine in FOREIGN])
def debian(
    request: pytest.FixtureRequest,
    engine: Engine,
    toolchain: Toolchain,
    tmp_path_factory: pytest.TempPathFactory,
) -> Debian:
    machine = machine_of(request.param, "")
    package = next(one for one in WITH_BTF if one.arch == machine.name)
    folder = tmp_path_factory.mktemp(machine.name)
    client = docker.DockerClient(base_url=engine.address.url)
    client.containers.run(
        toolchain.image, ["sh", "-c", DOWNLOAD, "sh", package.suite, package.port, package.name], user="0",
        remove=True, volumes={str(folder): {"bind": "/out", "mode": "rw"}},
    )  # fmt: skip
    return Debian(machine, folder / "tree")


def test_every_module_of_debians_kernel_is_verified(cli: Cli, debian: Debian) -> None:
    done = cli("verify", "--kernel", debian.tree, "-o", "run")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    values = results(cli.folder / "run")
    assert values["totals"]["modules"] == values["totals"]["verified"] > 2000
    assert values["disagreements"] == []
    assert values["vmlinux"]["difference"] == ""
    real = {one["name"] for one in values["modules"] if one["load"] == "real"}
    assert {"virtio_net", "failover", "net_failover"} <= real
    assert values["modes"] == {"carrier": values["totals"]["modules"] - len(real), "real": len(real)}
    run = json.loads((cli.folder / "run/run.json").read_bytes())
    assert run["architecture"] == debian.machine.name
    assert f"busybox-static:{debian.machine.architecture.debian}" in run["guest_toolchain"]["packages"]


@pytest.mark.parametrize("mode", ["real", "inert"])
def test_a_modules_own_file_loads_with_its_code_and_without(cli: Cli, debian: Debian, mode: str) -> None:
    words = ("--extra", debian.module("overlay"), "--extra-only", "--load", mode, "-o", "run")
    done = cli("verify", "--kernel", debian.tree, *words)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (overlay,) = (one for one in results(cli.folder / "run")["modules"] if one["name"] == "overlay")
    assert (overlay["outcome"], overlay["load"], overlay["extra"]) == ("VERIFIED", mode, True)


def test_the_kernel_refuses_a_module_with_one_wrong_byte_as_predicted(cli: Cli, debian: Debian) -> None:
    data = bytearray(load(debian.module("overlay"), MODULE_LIMIT)[:])
    section = ElfImage(bytes(data), "overlay").find(".BTF")
    assert section
    data[section.offset + 2] ^= 0xFF  # its version, which has no byte order
    spoilt = cli.folder / "overlay.ko"
    spoilt.write_bytes(data)
    words = ("--extra", spoilt, "--extra-only", "--load", "carrier", "-o", "run")
    done = cli("verify", "--kernel", debian.tree, *words)
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    values = results(cli.folder / "run")
    (overlay,) = (one for one in values["modules"] if one["name"] == "overlay")
    assert (overlay["outcome"], values["disagreements"]) == ("REJECTED", [])
    assert any("Unsupported version" in line for line in overlay["kernel_log"])


def test_what_a_guest_of_another_architecture_cannot_do_is_one_line(cli: Cli, debian: Debian) -> None:
    for words, message in (
        (("--prove", "fentry"), "--prove tries programs on x86_64 alone"),
        (("--accel", "kvm"), f"KVM runs no guest of {debian.machine.name} on this machine"),
        (("--arch", "x86_64"), f"a kernel for {debian.machine.name}, and --arch says x86_64"),
    ):
        done = cli("verify", "--kernel", debian.tree, *words)
        assert done.returncode in {2, 3}, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
