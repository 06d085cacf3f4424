# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which worker runs which cell, and what its answer has to be: real ones, within this process."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client, LocalCluster, Scheduler, SpecCluster, Worker, get_worker

from kbtf_ci import __version__
from kbtf_ci.errors import InfrastructureError, InterruptError
from kbtf_ci.model.cluster import ClusterOptions, Workers, needs
from kbtf_ci.model.matrix import Cell, CellOutcome, Choice, multiply
from kbtf_ci.model.matrix_results import CellResult
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import cluster, dispatch
from kbtf_ci.workflow.cell import CellsPlace
from kbtf_ci.workflow.cluster_task import TOPIC
from tests.support.waiting import PATIENCE_S, wait_until

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
    text: str, outcome: str = "verified", files: dict[str, bytes] | None = None, left_out: Sequence[str] = (),
    **times: float,
) -> str:  # fmt: skip
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
        "left_out": list(left_out),
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


def loops() -> set[threading.Thread]:
    """Return the threads of Dask's clients in this process."""
    return {one for one in threading.enumerate() if one.name == "IO loop"}


class Warned(TerminalReporter):
    """Keeps what it is to warn of, and what goes on."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []
        self.told: list[str] = []

    def progress(self, text: str, done: int = 0, total: int | None = None) -> None:
        self.told.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Heard:
    """A place for cells that hears what each comes to."""

    def __init__(self, folder: Path) -> None:
        self.results: list[CellResult] = []
        self.reporter = Warned()
        self.place = CellsPlace(folder, self.results.append, self.reporter)

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


def too_much(text: str) -> str:
    files = {"output.log": b"said\n", "results.json": b"x" * 100, "run.json": b"{}"}
    return answer(text, files=files, left_out=("report.html", "../../evil"))


def test_of_what_is_too_large_it_is_told_that_it_stayed(
    three: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kbtf_ci.workflow.cluster_answer._MOST_FILES", 50)
    heard = Heard(tmp_path)
    dispatch.Cluster(three, "large", heard.place, too_much).run(PLAN.cells[:1])
    (one,) = heard.results
    assert heard.reporter.warnings == [
        f"{one.name}: results.json, report.html stayed on worker {one.worker}: too large"
    ]
    kept = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {"output.log", "run.json"}


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


GATE = threading.Event()


def gated(text: str) -> str:
    GATE.wait(PATIENCE_S)
    return answer(text)


def test_each_time_that_no_worker_can_run_a_cell_it_is_told(
    three: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_TELL_S", 0.0)
    monkeypatch.setattr(dispatch, "_LOOK_S", 0.05)
    looks = 0

    def workers_of(client: Client) -> Workers:
        nonlocal looks
        looks += 1
        if looks > 8:
            GATE.set()
        address, offers = min(cluster.workers_of(client).items())
        return {address: {} if looks in (1, 5, 6) else offers}

    monkeypatch.setattr(dispatch, "workers_of", workers_of)
    first, second = PLAN.cells[0], PLAN.cells[-1]
    heard = Heard(tmp_path)
    dispatch.Cluster(three, "anew", heard.place, gated).run([first, second])
    words = "waits: no worker offers cell=1 any more"
    assert heard.reporter.warnings == [f"{one.name} {words}" for one in (first, second, second)]
    assert heard.names == sorted([first.name, second.name])


def telling(text: str) -> str:
    """Tell of this call, and of another one that uses the scheduler too."""
    call = json.loads(text)["call"]
    for one, line in ((call, "mine"), ("another", "not mine"), (call, "mine too")):
        get_worker().log_event(TOPIC, {"call": one, "cell": "c", "name": "n", "line": line})
    time.sleep(1)
    return answer(text)


def test_of_cells_of_others_nothing_is_told(three: Client, tmp_path: Path) -> None:
    heard = Heard(tmp_path)
    dispatch.Cluster(three, "told", heard.place, telling).run(PLAN.cells[:1])
    wait_until(lambda: len(heard.reporter.told) == 2)
    assert heard.reporter.told == ["c on n: mine", "c on n: mine too"]


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


@pytest.mark.parametrize("scheduler", ["tcp://127.0.0.1:1", "tls://127.0.0.1:1"])
def test_no_scheduler_is_one_line_and_leaves_no_loop(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    before = loops()
    with (
        pytest.raises(InfrastructureError, match=f"--scheduler {scheduler}: no scheduler answers"),
        cluster.connected(ClusterOptions(scheduler=scheduler)),
    ):
        pass
    assert loops() <= before
