# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Cells on the workers of a real scheduler: cells that are played, or end early by themselves."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster, Scheduler, SpecCluster, Worker, get_worker

from kbtf_ci import __version__
from kbtf_ci.errors import ExitCode, InfrastructureError, InterruptError, UsageError
from kbtf_ci.model.cluster import ClusterOptions, needs
from kbtf_ci.model.matrix import Cell, CellOutcome, CellResult, Choice, multiply
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import cluster, dispatch
from kbtf_ci.workflow import matrix as workflow
from kbtf_ci.workflow.cell import CellsPlace
from kbtf_ci.workflow.matrix import MatrixOptions
from tests.support.certificates import certificates
from tests.support.dask import DaskProcesses, dask_processes
from tests.support.waiting import PATIENCE_S
from tests.unit.workflow.test_matrix import matrix

PLAN = multiply(
    "m",
    "",
    {"config": "smoke"},
    {
        "toolchain": [Choice(name, {"toolchain": name}) for name in ("gcc", "clang")],
        "pahole": [Choice(name, {"pahole": name}) for name in ("bookworm", "trixie", "forky")],
    },
)


def answer(
    text: str, outcome: str = "verified", files: dict[str, bytes] | None = None, **times: float
) -> str:
    cell = json.loads(text)["cell"]
    digest = next(one.digest for one in PLAN.cells if one.name == cell["name"])
    result = CellResult(cell["name"], digest, CellOutcome(outcome), kbtf_ci=__version__, **times)  # type: ignore[arg-type]
    worker = get_worker()
    return json.dumps({
        "result": result.document(), "worker": str(worker.name), "address": worker.address,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "base64": base64.b64encode(data).decode()}
            for name, data in (files or {}).items()
        },
    })  # fmt: skip


def good(text: str) -> str:
    return answer(text, files={"output.log": b"said\n", "run.json": b"{}", "../../evil": b"x"})


def broken_on_first(text: str) -> str:
    """Come to no verdict on the worker that has it first, and to one elsewhere."""
    return answer(text, "infrastructure" if get_worker().name == 0 else "verified")


def raising(text: str) -> str:
    raise OSError(28, f"no space for {json.loads(text)['cell']['name']}")


def slow(text: str) -> str:
    time.sleep(0.2)
    return answer(text)


@contextmanager
def workers(number: int, **resources: float) -> Iterator[Client]:
    offered = resources or {"cell": 1}
    with (
        LocalCluster(
            n_workers=number, threads_per_worker=1, processes=False, dashboard_address=":0",
            resources=offered, silence_logs=50,
        ) as local,
        Client(local, set_as_default=False) as client,
    ):  # fmt: skip
        yield client


@pytest.fixture(scope="module")
def three() -> Iterator[Client]:
    with workers(3) as client:
        yield client


class Listening(TerminalReporter):
    """Keeps all that is said of progress."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.lines: list[str] = []

    def progress(self, text: str, done: int = 0, total: int | None = None) -> None:
        self.lines.append(text)


class Heard:
    """A place for cells that hears what each comes to."""

    def __init__(self, folder: Path) -> None:
        self.results: list[CellResult] = []
        self.place = CellsPlace(folder, self.results.append, TerminalReporter(quiet=True))

    @property
    def names(self) -> list[str]:
        return sorted(one.name for one in self.results)


def test_every_cell_is_run_once_and_what_comes_back_is_kept(three: Client, tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    dispatch.Cluster(three, "kept", heard.place, good).run(PLAN.cells)
    assert heard.names == sorted(cell.name for cell in PLAN.cells)
    one = heard.results[0]
    cell = next(cell for cell in PLAN.cells if cell.name == one.name)
    assert (tmp_path / cell.folder / "output.log").read_bytes() == b"said\n"
    assert (tmp_path / cell.folder / "run/run.json").read_bytes() == b"{}"
    assert one.run == str(tmp_path / cell.folder / "run")
    assert one.worker in {"0", "1", "2"}
    assert not list(tmp_path.rglob("evil"))


def test_cells_of_one_build_go_where_the_first_of_them_was(three: Client, tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    dispatch.Cluster(three, "near", heard.place, slow).run(PLAN.cells)
    for compiler in ("gcc", "clang"):
        assert len({one.worker for one in heard.results if one.name.startswith(compiler)}) == 1
    assert len({one.worker for one in heard.results}) == 2


def long_behind_a_short_compile(text: str) -> str:
    time.sleep(0.2)
    return answer(text, seconds=100.0, compile_s=10.0)


def test_idle_workers_get_a_share_of_one_build_where_it_pays(three: Client, tmp_path: Path) -> None:
    one_build = [cell for cell in PLAN.cells if cell.name.startswith("gcc")]
    for task, spread in ((slow, 1), (long_behind_a_short_compile, 2)):
        heard = Heard(tmp_path)
        dispatch.Cluster(three, "shared", heard.place, task).run(one_build)
        assert heard.names == sorted(cell.name for cell in one_build)
        assert len({one.worker for one in heard.results}) == spread


def test_what_came_to_no_verdict_is_tried_elsewhere(three: Client, tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    dispatch.Cluster(three, "elsewhere", heard.place, broken_on_first).run(PLAN.cells)
    assert {one.outcome for one in heard.results} == {CellOutcome.VERIFIED}
    assert "0" not in {one.worker for one in heard.results}


def of_another_cell(text: str) -> str:
    values = json.loads(answer(text))
    values["result"]["name"] = PLAN.cells[-1].name
    return json.dumps(values)


def of_another_version(text: str) -> str:
    values = json.loads(answer(text))
    values["result"]["kbtf_ci"] = "0.0"
    return json.dumps(values)


def of_wrong_types(text: str) -> str:
    values = json.loads(answer(text))
    values["result"]["seconds"] = "long"
    return json.dumps(values)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (of_another_cell, "the answer is another cell's"),
        (of_another_version, r"it was run by kbtf-ci 0\.0, and this is"),
        (of_wrong_types, "seconds"),
    ],
)
def test_an_answer_is_held_to_its_cell(
    three: Client, tmp_path: Path, task: Callable[[str], str], words: str
) -> None:
    heard = Heard(tmp_path)
    dispatch.Cluster(three, "answers", heard.place, task).run(PLAN.cells[:1])
    (one,) = heard.results
    assert (one.name, one.outcome) == (PLAN.cells[0].name, CellOutcome.INFRASTRUCTURE)
    assert re.search(words, one.error)
    assert "\n" not in one.error


def test_what_came_back_is_kept_on_no_worker_and_in_the_place_of_what_was(
    three: Client, tmp_path: Path
) -> None:
    stale = tmp_path / PLAN.cells[0].folder / "run/report.html"
    stale.parent.mkdir(parents=True)
    stale.touch()
    dispatch.Cluster(three, "released", Heard(tmp_path).place, good).run(PLAN.cells)
    assert not stale.exists()
    assert (stale.parent / "run.json").exists()
    end = time.monotonic() + PATIENCE_S
    while any(three.has_what().values()):
        assert time.monotonic() < end
        time.sleep(0.05)


@contextmanager
def unlike(*resources: dict[str, float]) -> Iterator[Client]:
    """Workers each of which offers something else."""
    options = [{"nthreads": 1, "resources": one, "memory_limit": 0} for one in resources]
    spec = {number: {"cls": Worker, "options": one} for number, one in enumerate(options)}
    scheduler = {"cls": Scheduler, "options": {"dashboard_address": ":0", "protocol": "inproc"}}
    with (
        SpecCluster(workers=spec, scheduler=scheduler, silence_logs=50) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client


def test_a_cell_goes_to_no_worker_that_lacks_what_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the one that offers it comes to no verdict the others are no way out."""
    monkeypatch.setattr(dispatch, "_TELL_S", 0.0)
    monkeypatch.setattr(dispatch, "_GIVE_UP_S", 3.0)
    cells = multiply("m", "", {"accel": "kvm"}, {"toolchain": [Choice("gcc", {"toolchain": "gcc"})]}).cells
    plain = {"cell": 1.0}
    for offered, words in (
        ([plain, plain], "no worker offers cell=1 kvm=1 any more"),
        ([plain, {"cell": 1.0, "kvm": 1.0}, {}], "no space for"),
    ):
        with unlike(*offered) as client:
            heard = Heard(tmp_path)
            dispatch.Cluster(client, "kvm", heard.place, raising).run(cells)
            (one,) = heard.results
            assert words in one.error


def test_an_interrupt_is_no_answer(three: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> str:
        raise InterruptError("interrupted by SIGINT")

    monkeypatch.setattr("distributed.Future.result", interrupted)
    with pytest.raises(InterruptError):
        dispatch.Cluster(three, "interrupted", Heard(tmp_path).place, good).run(PLAN.cells[:1])


def test_what_fails_everywhere_is_the_machines_fault_in_a_line(three: Client, tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    dispatch.Cluster(three, "raising", heard.place, raising).run(PLAN.cells[:1])
    (one,) = heard.results
    assert one.outcome is CellOutcome.INFRASTRUCTURE
    assert "no space for" in one.error
    assert "\n" not in one.error


def test_resources_that_nobody_offers_are_told_at_once(three: Client) -> None:
    cell = Cell({"a": "b"}, {"config": "smoke", "accel": "kvm"})
    assert needs(cell) == {"cell": 1.0, "kvm": 1.0}
    with pytest.raises(InfrastructureError, match="cell b: none of 3 workers offers cell=1 kvm=1"):
        cluster.require_workers(three, [cell])
    cluster.require_workers(three, PLAN.cells)


def test_another_version_and_no_worker_are_told(three: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "__version__", "0.0")
    with pytest.raises(InfrastructureError, match=r"worker inproc:.* has kbtf-ci .*, and this is 0\.0"):
        cluster.require_workers(three, PLAN.cells)
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with workers(0) as client, pytest.raises(InfrastructureError, match="the scheduler has no worker"):
        cluster.require_workers(client, PLAN.cells)


def test_no_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with (
        pytest.raises(InfrastructureError, match=r"--scheduler tcp://127\.0\.0\.1:1: no scheduler answers"),
        cluster.connected(ClusterOptions(scheduler="tcp://127.0.0.1:1")),
    ):
        pass


# ---- processes


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


def test_a_worker_of_ours_ends_though_its_scheduler_ends_at_once_with_it(processes: DaskProcesses) -> None:
    served = serving(processes)
    with cluster.connected(ClusterOptions(scheduler_file=processes.file)) as client:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    for one in processes.started:
        one.terminate()
    assert served.wait(PATIENCE_S) == ExitCode.INTERRUPTED


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
