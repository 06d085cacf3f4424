# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The plugin of pytest with real runs: the example project, a red module, and sessions that are cut short."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from kbtf_ci.container.engine import Engine
from tests.e2e.conftest import BUILD_S, Cli, results
from tests.e2e.test_red import btf_offset
from tests.support.waiting import PATIENCE_S, wait_until

EXAMPLE = Path(__file__).parents[2] / "examples/pytest"
# Whether it is installed or not: the one that is looked for, and no other.
PLUGIN = ("-p", "no:kbtf-ci", "-p", "kbtf_ci.pytest_plugin.entry")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts pytest in a folder of its own, as a user's shell does."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str | Path) -> subprocess.Popen[str]:
        call = [sys.executable, "-m", "pytest", *PLUGIN, "--color=no", *map(str, words)]
        pipe = subprocess.PIPE
        env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        process = subprocess.Popen(
            call, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


def ended(process: subprocess.Popen[str], seconds: float = PATIENCE_S) -> tuple[int, str]:
    """The exit code, and all that was printed."""
    out, err = process.communicate(timeout=seconds)
    assert "INTERNALERROR" not in out + err, out + err
    return process.returncode, out + err


@pytest.mark.full
def test_the_example_project_runs_with_a_guest_a_worker(
    start: Start, smoke_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    own = len(re.findall(r"^def test_", (EXAMPLE / "tests/test_kernel.py").read_text(), re.MULTILINE))
    modules = len(results(smoke_run)["modules"])
    code, said = ended(start(f"--kbtf-run={smoke_run}", "-n", "2"))
    assert code == 0, said
    assert f"{own + modules} passed" in said


def test_without_one_a_run_is_made_by_the_controller_alone(
    start: Start, smoke_run: Path, tmp_path: Path
) -> None:
    process = start("--kbtf-config=smoke", "--kbtf-output-dir=run", "-n", "2", "-k", "tun or veth")
    code, said = ended(process, BUILD_S)
    assert code == 0, said
    assert "2 passed" in said
    assert said.count("guest 1 answers") == 1
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["status"] == "done"
    assert "--kbtf-config=smoke" in record["command"]


ASKING = """
import errno

def test_refused_again(kbtf_guest, kbtf_run):
    seen = kbtf_guest.load("ext2")
    assert seen.errno == errno.EINVAL
    assert seen.log == kbtf_run.module("ext2").kernel_log

def test_sysfs(kbtf_guest):
    kbtf_guest.read_btf("ext2")
"""


def test_a_red_module_is_a_failure_in_the_kernels_words(
    start: Start, cli: Cli, spare_run: Path, tmp_path: Path
) -> None:
    flipped = next((spare_run / "kernel/modules").rglob("ext2.ko"))
    with flipped.open("r+b") as file:
        file.seek(btf_offset(flipped))
        file.write(b"\x9e")
    assert cli("verify", spare_run).returncode == 1
    (tmp_path / "test_own.py").write_text(ASKING)
    code, said = ended(start(f"--kbtf-run={spare_run}", "test_own.py"))
    assert code == 1, said
    for line in (
        "REJECTED: the kernel refused the BTF: EINVAL (-22)",
        "    BPF: Invalid magic",
        "    failed to validate module [ext2] BTF: -22",
        "kbtf-ci: the guest has no /sys/kernel/btf/ext2 (only a module that is loaded has its BTF there)",
    ):
        assert f"\n{line}\n" in said
    assert re.search(r"^FAILED kbtf::ext2 - ", said, re.MULTILINE)
    assert "2 failed" in said
    assert "Traceback" not in said
    assert "live_guest.py" not in said


WAITING = """
import os
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(2))
def test_waits(kbtf_guest, number):
    Path(f"up-{os.getpid()}").touch()
    kbtf_guest.run("sleep 1000", silence=1000)
"""


@pytest.mark.parametrize(
    ("workers", "number"),
    [
        (0, signal.SIGINT),
        (2, signal.SIGTERM),
        pytest.param(0, signal.SIGTERM, marks=pytest.mark.full),
        pytest.param(2, signal.SIGINT, marks=pytest.mark.full),
    ],
)
def test_an_interrupted_session_leaves_no_guest(
    start: Start, engine: Engine, smoke_run: Path, tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    (tmp_path / "test_own.py").write_text(WAITING)
    process = start(f"--kbtf-run={smoke_run}", "-n", str(workers), "test_own.py", "-k", "waits")

    def up() -> bool:
        assert process.poll() is None, ended(process)
        return len(list(tmp_path.glob("up-*"))) == max(1, workers)

    wait_until(up)
    pids = {file.name.partition("-")[2] for file in tmp_path.glob("up-*")}
    client = docker.DockerClient(base_url=engine.address.url)

    def guests() -> list[str | None]:
        held = client.containers.list(all=True, ignore_removed=True, filters={"label": "kbtf-ci.pid"})
        return [one.name for one in held if one.labels["kbtf-ci.pid"].split("/")[1] in pids]

    assert len(guests()) == max(1, workers)
    process.send_signal(number)
    code, said = ended(process)
    assert code == pytest.ExitCode.INTERRUPTED, said
    wait_until(lambda: not guests())  # a worker ends a little behind the session
