# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A cell on a worker of Dask's: JSON in, JSON out. The scheduler's clients name run_task(), and send no code.

Dask does not stop a task that runs, and takes its thread for free once it is cancelled. So the cell's command
is a process that ends with the worker (infra/leash.py), a thread beside it asks whether the cell is still
wanted, and no cell begins on this machine while an earlier one of its kind is not gone.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from distributed import get_worker

from kbtf_ci import __version__
from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.locks import exclusive_with_children, lock_of
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.model.cluster import CELL
from kbtf_ci.model.matrix import Cell, CellOutcome
from kbtf_ci.model.matrix_results import CellResult
from kbtf_ci.model.prune import Kind
from kbtf_ci.report.matrix import cell_of
from kbtf_ci.workflow.cell import Watch, run_cell

TOPIC: Final = "kbtf-ci"
# What comes back of a run directory; images and modules stay here.
FILES: Final = (
    "run.json",
    "results.json",
    "summary.md",
    "junit.xml",
    "report.html",
    "build.log",
    "console.log",
)
LOG: Final = "output.log"
_MOST_BYTES: Final = 8 << 20  # of one file
_POLL_S: Final = 1.0
_TELL_S: Final = 5.0
_OF_OTHERS_S: Final = 300.0  # for what a worker that died has left to clean up
_AT_WORK: Final = ("running", "paused")
_CANCELLED: Final = frozenset({"cancelled", "resumed", "forgotten", "released"})
# Cells at once in this process, by its threads: a cancelled task's thread is still at work.
_SLOTS: Final[dict[int, threading.Semaphore]] = {}
_SLOTS_LOCK: Final = threading.Lock()


def version() -> str:
    """Return the version of kbtf-ci on a worker."""
    return __version__


def run_task(text: str) -> str:
    """Run the cell in a document on this worker, and return what it came to, with its reports.

    ``text`` is JSON: ``cell`` as in a plan, ``owner`` for the folder's name, ``call`` for what is told
    meanwhile. So is what comes back:
    ``result``, ``worker`` by its name and ``address``, ``files`` by name, with ``sha256`` and ``base64``, and
    ``left_out``, the names of those that are too large.
    """
    asked = json.loads(text)
    cell = cell_of(asked["cell"])
    worker = get_worker()
    who = str(worker.name)
    folder = cells_folder() / f"{_safe(asked['owner'])}-{cell.folder}"
    stop = threading.Event()
    slots, places = _slots(worker.state.nthreads), _places(worker)
    with _watched(stop, _wanted(worker, str(worker.get_current_task()))), slots:
        head = {"call": asked["call"], "cell": cell.name, "name": who}
        told = _Told(lambda line: worker.log_event(TOPIC, {**head, "line": line}))
        told("begins")
        jobs = max(1, len(os.sched_getaffinity(0)) // places)
        found = _alone(cell, folder, jobs, Watch(stop, told))
    return json.dumps({**found, "worker": who, "address": worker.address})


def _places(worker: Any) -> int:
    """Return how many cells a worker runs at once: dask worker has a thread a core, whatever it offers."""
    threads = int(worker.state.nthreads)
    return max(1, min(threads, int(worker.state.total_resources.get(CELL, threads))))


def cells_folder() -> Path:
    """Return where a worker keeps what it ran, made if need be. Raises InfrastructureError."""
    folder = cache_root() / Kind.CELLS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InfrastructureError(f"{folder}: cannot be made: {error.strerror}") from error
    return folder


class _Told:
    """Sends what a cell says, now and then: a scheduler hears of a hundred of them."""

    def __init__(self, send: Callable[[str], None]) -> None:
        self._send, self._next = send, 0.0

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _TELL_S
            self._send(line)


def _alone(cell: Cell, folder: Path, jobs: int, watch: Watch) -> Mapping[str, Any]:
    """Run the cell once whatever was started in its folder before, by a worker that is gone, has ended.

    Its files are taken before another one of the same name may begin there.
    """
    end = time.monotonic() + _OF_OTHERS_S
    with exclusive_with_children(
        lock_of(folder), lambda: not watch.stop.is_set() and time.monotonic() < end
    ) as descriptor:
        if descriptor is None and not watch.stop.is_set():
            raise InfrastructureError(f"{folder}: an earlier worker's cell there does not end")
        if descriptor is None:
            not_run = CellResult(cell.name, cell.digest, CellOutcome.NOT_RUN, kbtf_ci=__version__)
            return {"result": not_run.document(), "files": {}, "left_out": []}
        result = run_cell(cell, folder, jobs, watch, (descriptor,))
        packed = {name: _packed(path) for name, path in _files(folder)}
        files = {name: one for name, one in packed.items() if one is not None}
        return {"result": result.document(), "files": files, "left_out": sorted(packed.keys() - files)}


def _slots(threads: int) -> threading.Semaphore:
    with _SLOTS_LOCK:
        return _SLOTS.setdefault(threads, threading.Semaphore(threads))


def _wanted(worker: Any, key: str) -> Callable[[], bool]:
    """Return what tells whether anybody still waits for a task, which may be cancelled."""

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state not in _CANCELLED and worker.status.name in _AT_WORK

    return wanted


@contextmanager
def _watched(stop: threading.Event, wanted: Callable[[], bool]) -> Iterator[None]:
    """Set ``stop`` once a task is not wanted any more."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            if not wanted():
                stop.set()
                return

    thread = threading.Thread(target=watch, daemon=True, name="wanted")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _safe(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield what there is of a cell's files, by name."""
    places = {LOG: folder / LOG, **{name: folder / "run" / name for name in FILES}}
    yield from ((name, path) for name, path in places.items() if path.is_file())


def _packed(path: Path) -> Mapping[str, str] | None:
    """Return a file as it comes back; None where it is too large.

    Of a log that is its beginning comes, of others nothing: what is cut is no document.
    """
    if path.suffix != ".log" and path.stat().st_size > _MOST_BYTES:
        return None
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES)
    return {"sha256": hashlib.sha256(data).hexdigest(), "base64": base64.b64encode(data).decode()}
