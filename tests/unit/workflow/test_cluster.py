# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A matrix on workers that are processes of their own, with cells that are played or end early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

from kbtf_ci.errors import ExitCode, InfrastructureError, UsageError
from kbtf_ci.model.cluster import ClusterOptions
from kbtf_ci.model.matrix import CellOutcome, Choice, multiply
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import cluster, dispatch
from kbtf_ci.workflow import matrix as workflow
from kbtf_ci.workflow.matrix import MatrixOptions
from tests.support.certificates import certificates
from tests.support.dask import DaskProcesses, dask_processes
from tests.support.waiting import PATIENCE_S, wait_until
from tests.unit.workflow.test_dispatch import Heard, loops
from tests.unit.workflow.test_matrix import matrix


class Listening(TerminalReporter):
    """Keeps all that is said of progress."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.lines: list[str] = []

    def progress(self, text: str, done: int = 0, total: int | None = None) -> None:
        self.lines.append(text)


def worker(processes: DaskProcesses, name: str, *words: Any) -> subprocess.Popen[bytes]:
    return processes.start(
        "distributed.cli.dask_worker", "--scheduler-file", processes.file, "--no-nanny", "--nthreads", 1,
        "--name", name, "--no-dashboard", "--resources", "cell=1", "--host", "127.0.0.1",
        "--local-directory", processes.folder / name, *words,
    )  # fmt: skip


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[DaskProcesses]:
    with dask_processes(tmp_path / "dask") as found:
        yield found


def test_a_matrix_is_run_by_real_workers_with_real_commands(processes: DaskProcesses, tmp_path: Path) -> None:
    """Its cells end with 2, of profiles that are none: the table is that of one machine."""
    for name in ("a", "b", "c"):
        worker(processes, name)
    plan = matrix(tmp_path)
    with cluster.connected(ClusterOptions(scheduler_file=processes.file)) as client:
        client.wait_for_workers(3, timeout=PATIENCE_S)
    options = MatrixOptions(cluster=ClusterOptions(scheduler_file=processes.file))
    reporter = heard = Listening(quiet=True)
    found = workflow.run_matrix(plan, tmp_path / "far", options, reporter)
    here = workflow.run_matrix(plan, tmp_path / "here", MatrixOptions(at_once=1), reporter)
    assert {line for line in heard.lines if line.endswith(": begins")} == {
        f"{one.name} on {one.worker}: begins" for one in found.results.values()
    }
    assert found.standings == here.standings
    assert {one.outcome for one in found.results.values()} == {CellOutcome.REFUSED}
    assert {one.worker for one in found.results.values()} <= {"a", "b", "c"}
    assert [one.error for one in found.results.values()] == [
        here.results[one.name].error for one in found.results.values()
    ]


# Plays kbtf-ci on a worker: says who it is, and ends when it may, or in order when it has to.
PLAYED = f"""#!{sys.executable}
import os, pathlib, signal, sys, time
sys.path.insert(0, {str(Path.cwd())!r})
from kbtf_ci.infra.leash import heed
place = pathlib.Path(__file__).parent
def ended(*_):
    (place / f"ended-{{os.getpid()}}").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, ended)
heed()
cell = sys.argv[sys.argv.index("--toolchain") + 1]
(place / f"{{cell}}-{{os.getpid()}}").touch()
while not (place / "go").exists():
    time.sleep(0.05)
run = pathlib.Path(sys.argv[sys.argv.index("--output-dir") + 1])
run.mkdir()
(run / "report.html").write_bytes(bytes(9 << 20))
(run / "summary.md").write_text("summed up")
sys.exit(2)
"""


def runs(pid: int) -> bool:
    """Whether a process is there, and not only its entry, which nobody has asked for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Played:
    """Workers on which cells are played; each start leaves a file with the cell's name and its process."""

    NAMES = ("gcc", "clang")
    PLAN = multiply("m", "", {}, {"toolchain": [Choice(name, {"toolchain": name}) for name in NAMES]})

    def __init__(self, processes: DaskProcesses, folder: Path) -> None:
        self.processes, self.folder = processes, folder
        (folder / "played").write_text(PLAYED)
        (folder / "played").chmod(0o755)
        preload = folder / "preload.py"
        preload.write_text(f"import sys\nsys.executable = {str(folder / 'played')!r}\n")
        self.workers = [worker(processes, name, "--preload", preload) for name in ("a", "b", "c")]
        with self.client() as client:
            client.wait_for_workers(3, timeout=PATIENCE_S)

    def client(self) -> Any:
        return cluster.connected(ClusterOptions(scheduler_file=self.processes.file))

    def pids(self, cell: str) -> list[int]:
        return sorted(int(path.name.rpartition("-")[2]) for path in self.folder.glob(f"{cell}-*"))

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < end, sorted(path.name for path in self.folder.iterdir())
            time.sleep(0.05)

    def kill_worker_of(self, cell: str) -> None:
        (pid,) = (one for one in self.pids(cell) if not (self.folder / f"ended-{one}").exists())
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        (victim,) = (one for one in self.workers if one.pid == parent)
        victim.kill()
        victim.wait()

    def gone(self, pid: int) -> bool:
        return (self.folder / f"ended-{pid}").exists() and not runs(pid)


@pytest.fixture
def played(processes: DaskProcesses, tmp_path: Path) -> Played:
    (tmp_path / "play").mkdir()
    return Played(processes, tmp_path / "play")


def test_a_killed_workers_cell_ends_and_is_run_again_once_it_is_gone(played: Played, tmp_path: Path) -> None:
    heard = Heard(tmp_path / "out")

    def run() -> None:
        with played.client() as client:
            dispatch.Cluster(client, "killed", heard.place).run(played.PLAN.cells)

    running = threading.Thread(target=run)
    running.start()
    played.until(lambda: all(played.pids(name) for name in played.NAMES))
    (first,) = played.pids("gcc")
    played.kill_worker_of("gcc")
    played.until(lambda: len(played.pids("gcc")) == 2)
    assert played.gone(first)
    (played.folder / "go").touch()
    running.join(PATIENCE_S)
    assert heard.names == ["clang", "gcc"]
    assert {one.outcome for one in heard.results} == {CellOutcome.REFUSED}
    assert len(played.pids("clang")) == 1
    assert len([line for line in heard.reporter.warnings if "report.html stayed on worker" in line]) == 2
    assert len(list(heard.place.folder.rglob("summary.md"))) == 2
    assert not list(heard.place.folder.rglob("report.html"))


def test_a_cell_that_costs_its_workers_their_lives_is_given_up(played: Played, tmp_path: Path) -> None:
    heard = Heard(tmp_path / "out")

    def run() -> None:
        with played.client() as client:
            dispatch.Cluster(client, "deadly", heard.place).run(played.PLAN.cells[:1])

    running = threading.Thread(target=run)
    running.start()
    for number in (1, 2, 3):
        played.until(lambda: len(played.pids("gcc")) == number)  # noqa: B023
        played.kill_worker_of("gcc")
    running.join(PATIENCE_S)
    (one,) = heard.results
    assert (one.outcome, one.error[:10]) == (CellOutcome.INFRASTRUCTURE, "its worker")
    assert len(played.pids("gcc")) == 3


def test_a_client_that_was_killed_or_interrupted_leaves_no_cell(played: Played, tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(f"[axes]\ntoolchain = {list(played.NAMES)}")
    words = ("matrix", "run", path, "-o", tmp_path / "out", "--scheduler-file", played.processes.file)
    for sent in (signal.SIGKILL, signal.SIGINT):
        argv = [sys.executable, "-m", "kbtf_ci", *map(str, words)]
        with (tmp_path / f"{sent}.log").open("wb") as log:
            client = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        before = {name: len(played.pids(name)) for name in played.NAMES}
        played.until(lambda: all(len(played.pids(name)) > before[name] for name in played.NAMES))  # noqa: B023
        client.send_signal(sent)
        client.wait(PATIENCE_S)
        played.until(lambda: all(played.gone(pid) for name in played.NAMES for pid in played.pids(name)))
    assert client.returncode == 130, (tmp_path / f"{signal.SIGINT}.log").read_text()


# What a TLS handshake takes: one authority, and what both sides show.
SERVED = """
import asyncio, sys
from pathlib import Path
from kbtf_ci.commands.session import reporting
from kbtf_ci.model.cluster import ClusterOptions
from kbtf_ci.workflow.worker import serve
scheduler, *tls = map(Path, sys.argv[1:])
with reporting(quiet=True, debug=False):
    asyncio.run(serve(ClusterOptions("", scheduler, *tls), {"cell": 1.0}, 1, "served"))
"""


def serving(processes: DaskProcesses, *tls: Path) -> subprocess.Popen[bytes]:
    (processes.folder / "served.py").write_text(SERVED)
    return processes.start("served", processes.file, *tls)


def test_a_client_whose_scheduler_is_gone_leaves_no_loop(
    processes: DaskProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    before = loops()
    with cluster.connected(ClusterOptions(scheduler_file=processes.file)) as client:
        processes.started[0].kill()
        wait_until(lambda: client.status == "closed")
    assert loops() <= before


def test_a_worker_of_ours_ends_though_its_scheduler_ends_at_once_with_it(processes: DaskProcesses) -> None:
    served = serving(processes)
    with cluster.connected(ClusterOptions(scheduler_file=processes.file)) as client:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    for one in processes.started:
        one.terminate()
    assert served.wait(PATIENCE_S) == ExitCode.INTERRUPTED


def test_a_worker_of_ours_leaves_the_cores_to_its_cells(processes: DaskProcesses) -> None:
    serving(processes)
    with cluster.connected(ClusterOptions(scheduler_file=processes.file)) as client:
        client.wait_for_workers(1, timeout=PATIENCE_S)
        (periodic,) = client.run(lambda dask_worker: sorted(dask_worker.periodic_callbacks)).values()
        assert set(client.run(dask.config.get, "distributed.admin.tick.interval").values()) == {"1s"}
    assert "heartbeat" in periodic
    assert not {"profile", "profile-cycle"} & set(periodic)


def test_behind_tls_cells_run_and_who_shows_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, cert, key = certificates(tmp_path)
    words = ("--protocol", "tls", "--tls-ca-file", ca, "--tls-cert", cert, "--tls-key", key)
    with dask_processes(tmp_path / "dask", *words) as processes:
        served = serving(processes, ca, cert, key)
        options = ClusterOptions("", processes.file, ca, cert, key)
        with cluster.connected(options) as client:
            client.wait_for_workers(1, timeout=PATIENCE_S)
            assert next(iter(client.scheduler_info()["workers"])).startswith("tls://")
        run_options = MatrixOptions(cluster=options)
        reporter = TerminalReporter(quiet=True)
        found = workflow.run_matrix(matrix(tmp_path), tmp_path / "far", run_options, reporter)
        assert {one.worker for one in found.results.values()} == {"served"}
        monkeypatch.setattr(cluster, "CONNECT_S", 2)
        with (
            pytest.raises(InfrastructureError, match=r"no scheduler answers there: .*TLS"),
            cluster.connected(ClusterOptions(scheduler_file=processes.file)),
        ):
            pass
        served.terminate()
        assert served.wait(PATIENCE_S) == ExitCode.INTERRUPTED


def test_a_scheduler_that_dies_amid_a_run_is_one_line_and_leaves_no_cell(
    played: Played, tmp_path: Path
) -> None:
    path = tmp_path / "m.toml"
    path.write_text(f"[axes]\ntoolchain = {list(played.NAMES)}")
    words = ("matrix", "run", path, "-o", tmp_path / "out", "--scheduler-file", played.processes.file)
    client = subprocess.Popen(
        [sys.executable, "-m", "kbtf_ci", *map(str, words)], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s"},
    )  # fmt: skip
    played.until(lambda: all(played.pids(name) for name in played.NAMES))
    played.processes.started[0].kill()
    _, said = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == ExitCode.INFRASTRUCTURE
    assert "kbtf-ci: the scheduler is gone\n" in said
    assert "internal error" not in said
    played.until(lambda: all(played.gone(pid) for name in played.NAMES for pid in played.pids(name)))


def test_without_the_extra_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kbtf_ci.workflow.cluster_extra.find_spec", lambda name: None)
    options = MatrixOptions(cluster=ClusterOptions(scheduler="tcp://127.0.0.1:1"))
    with pytest.raises(UsageError, match="distributed, which is not installed") as caught:
        workflow.run_matrix(matrix(tmp_path), tmp_path / "out", options, TerminalReporter(quiet=True))
    assert "kbtf-ci[cluster]" in caught.value.hint
