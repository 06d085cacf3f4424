# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whatever ends a run leaves nothing behind, keeps what was made, and has its own exit code."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from tests.e2e.conftest import Cli, Containers, results
from tests.support import faketree
from tests.support.deadly import ENDLESS_LOOP, with_init
from tests.support.waiting import PATIENCE_S, wait_until


@pytest.fixture
def slow_tree(tmp_path: Path) -> Path:
    return faketree.plant_for_cli(tmp_path)


def test_sigint_during_the_build(
    cli: Cli, containers: Containers, toolchain: Toolchain, slow_tree: Path
) -> None:
    run = cli.folder / "run"
    process = cli.start("run", "-C", slow_tree, "--config", "tinyconfig", "-o", run, "FAKE_SLEEP=3600")
    log = run / "build.log"
    wait_until(lambda: log.exists() and "CC" in log.read_text())
    assert containers.of(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "interrupted by SIGINT" in err
    assert not containers.of(process)
    assert "InterruptError" in json.loads((run / "run.json").read_text())["status"]


def test_sigterm_during_the_boot(cli: Cli, containers: Containers, spare_run: Path) -> None:
    console = spare_run / "console.log"
    console.unlink()
    process = cli.start("verify", spare_run, "--accel", "tcg")
    wait_until(lambda: console.exists() and console.stat().st_size > 0)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert not containers.of(process)
    values = results(spare_run)
    assert values["totals"]["not_reached"] == values["totals"]["modules"]
    assert values["ended"] == "interrupted by SIGTERM"
    assert json.loads((spare_run / "run.json").read_text())["status"].startswith("InterruptError")


def test_qemu_killed_during_the_load(cli: Cli, containers: Containers, spare_run: Path) -> None:
    console = spare_run / "console.log"
    console.unlink()
    # A load that lasts: however late the signal comes, it comes under a load.
    tun = next((spare_run / "kernel/modules").rglob("tun.ko"))
    tun.write_bytes(with_init(tun.read_bytes(), ENDLESS_LOOP))
    process = cli.start("verify", spare_run, "--accel", "tcg", "--timeouts", "load=1h")
    wait_until(lambda: console.exists() and "kbtf-ci: load real tun" in console.read_text())
    (guest,) = containers.of(process)
    rows = guest.top()["Processes"]
    qemu = next(row for row in rows if "qemu-system" in row[-1] and "tini" not in row[-1])
    os.kill(int(qemu[1]), signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5, err
    assert "QEMU" in err
    assert not containers.of(process)
    totals = results(spare_run)["totals"]
    assert totals["not_reached"] > 0
    assert "NOT_REACHED" in out


def test_a_killed_run_is_cleaned_up_by_the_next(
    cli: Cli, containers: Containers, toolchain: Toolchain, slow_tree: Path, engine: Engine
) -> None:
    run = cli.folder / "run"
    process = cli.start("run", "-C", slow_tree, "--config", "tinyconfig", "-o", run, "FAKE_SLEEP=3600")
    wait_until(lambda: (run / "build.log").exists() and "CC" in (run / "build.log").read_text())
    process.kill()
    process.communicate()
    assert containers.of(process)
    engine.runner(toolchain.image)
    assert not containers.of(process)
