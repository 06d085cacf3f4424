# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Load mode carrier on the smoke run: the same verdicts, from files of a few kB."""

from __future__ import annotations

from pathlib import Path

from kbtf_ci.guest.image import guest_path
from kbtf_ci.model.outcome import LoadMode
from kbtf_ci.objfile.inventory import inventory
from tests.e2e.conftest import Cli, results
from tests.e2e.test_red import btf_offset
from tests.support.cpio import read_archives


def test_every_carrier_is_verified_and_carries_the_btf_alone(cli: Cli, spare_run: Path) -> None:
    done = cli("verify", spare_run, "--load", "carrier")
    assert done.returncode == 0, done.stdout + done.stderr
    values = results(spare_run)
    assert values["totals"]["verified"] == values["totals"]["modules"] >= 20
    assert {module["load"] for module in values["modules"]} == {"carrier"}
    carried = read_archives((spare_run / "guest/initramfs.cpio").read_bytes())
    for module in inventory(spare_run / "kernel/modules").modules:
        _, carrier = carried[str(guest_path(LoadMode.CARRIER, module)).lstrip("/")]
        assert len(carrier) < module.btf_bytes + 4096


def test_a_spoilt_carrier_is_refused_for_its_btf_and_the_rest_is_verified(cli: Cli, spare_run: Path) -> None:
    path = next((spare_run / "kernel/modules").rglob("ext2.ko"))
    with path.open("r+b") as file:
        file.seek(btf_offset(path))
        file.write(b"\x9e")
    done = cli("verify", spare_run, "--load", "carrier")
    assert done.returncode == 1, done.stderr
    (fault,) = (module for module in results(spare_run)["modules"] if module["outcome"] != "VERIFIED")
    assert (fault["name"], fault["outcome"], fault["errno"]) == ("ext2", "REJECTED", -22)
    assert fault["kernel_log"] == ["BPF: Invalid magic", "failed to validate module [ext2] BTF: -22"]
