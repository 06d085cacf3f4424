# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Cells on the workers of a Dask scheduler that the user started: who may run what, and what comes back."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from distributed import Client, Future, Security, as_completed
from distributed.scheduler import KilledWorker

from kbtf_ci import __version__
from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.infra.whole import whole_file
from kbtf_ci.model.cluster import CELL, ClusterOptions, needs, offers, shares, shown
from kbtf_ci.model.matrix import Cell, CellOutcome, CellResult
from kbtf_ci.report.matrix import cell_document, result_of
from kbtf_ci.workflow import cluster_task
from kbtf_ci.workflow.cell import CellsPlace

# What a cell that came to no verdict is given: other machines may have what this one lacks.
_TRIES: Final = 3
CONNECT_S: Final = 30
_MOST_FILES: Final = 32 << 20  # bytes of all files of one cell

Task = Callable[[str], str]


@contextmanager
def connected(options: ClusterOptions) -> Iterator[Client]:
    """Give a client. Raises InfrastructureError where no scheduler answers."""
    with connect_errors(options):
        client = Client(
            address=options.scheduler or None,
            scheduler_file=_text(options.scheduler_file),
            timeout=CONNECT_S,
            security=security_of(options),
            set_as_default=False,
        )
    try:
        yield client
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=CONNECT_S)


@contextmanager
def connect_errors(options: ClusterOptions) -> Iterator[None]:
    """Turn what Dask raises where no scheduler answers into a line."""
    try:
        yield
    except (OSError, ValueError, TypeError, TimeoutError) as error:
        raise InfrastructureError(
            f"--scheduler {options.where}: no scheduler answers there: {error}",
            hint="dask scheduler starts one",
        ) from error


def security_of(options: ClusterOptions) -> Security | None:
    """Return Dask's own of the files of TLS, None without them."""
    if not (options.tls_ca or options.tls_cert or options.tls_key):
        return None
    cert, key = _text(options.tls_cert), _text(options.tls_key)
    return Security(
        tls_ca_file=_text(options.tls_ca),
        tls_client_cert=cert,
        tls_client_key=key,
        tls_worker_cert=cert,
        tls_worker_key=key,
        require_encryption=True,
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def require_workers(client: Client, cells: Sequence[Cell]) -> None:
    """Raise InfrastructureError where there is no worker, one of another kbtf-ci, or none for a cell.

    For the first one it waits a little: it may have been started just now.
    """
    with suppress(TimeoutError):
        client.wait_for_workers(1, timeout=CONNECT_S)
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise InfrastructureError(
            "the scheduler has no worker", hint="kbtf-ci worker, or dask worker --resources cell=1, is one"
        )
    for address, found in client.run(cluster_task.version, on_error="return").items():
        if isinstance(found, BaseException):
            raise InfrastructureError(f"worker {address}: kbtf-ci does not run there: {found}")
        if found != __version__:
            raise InfrastructureError(
                f"worker {address} has kbtf-ci {found}, and this is {__version__}",
                hint="install the same one",
            )
    for cell in cells:
        wanted = needs(cell)
        if not any(offers(worker.get("resources") or {}, wanted) for worker in workers.values()):
            words = shown(wanted)
            raise InfrastructureError(
                f"cell {cell.name}: none of {len(workers)} workers offers {words}",
                hint=f"dask worker --resources '{words}'",
            )


class Cluster:
    """Runs cells on workers: those that share compiled objects one behind the other, on the same worker.

    Where others are idle and it pays they get a share, and compile for themselves. No more is submitted than
    may run: what lay waiting on a worker, Dask would let idle ones steal, whatever that costs.
    """

    def __init__(
        self, client: Client, matrix: str, place: CellsPlace, task: Task = cluster_task.run_task
    ) -> None:
        self._client, self._matrix, self._task = client, matrix, task
        # A worker may still be at work on what an earlier call of the same name did not want any more.
        self._id = uuid.uuid4().hex[:12]
        self._folder, self._ended, self._reporter = place.folder, place.ended, place.reporter
        self._cells: dict[Future[str], Cell] = {}
        self._tries: dict[str, int] = defaultdict(int)
        self._away: dict[str, set[str]] = defaultdict(set)
        # By a cell's name, those that follow it.
        self._following: dict[str, tuple[Cell, ...]] = {}
        # Seconds, by what tells compiled objects from others'.
        self._compiling: dict[str, float] = defaultdict(float)

    def run(self, cells: Sequence[Cell]) -> None:
        """Run cells until each has come to something; what is interrupted is not wanted on any worker."""
        self._client.subscribe_topic(cluster_task.TOPIC, self._told)
        groups: dict[str, list[Cell]] = defaultdict(list)
        for cell in cells:
            groups[cell.compiled].append(cell)
        try:
            self._following = {first.name: tuple(rest) for first, *rest in groups.values()}
            first = [self._submit(group[0]) for group in groups.values()]
            running = as_completed(first, loop=self._client.loop, raise_errors=False)
            for future in running:
                cell = self._cells.pop(future)
                for following, where in self._next(cell, future):
                    running.add(self._submit(following, where))
        except BaseException:
            self._client.cancel(list(self._cells), force=True)
            raise
        finally:
            self._client.unsubscribe_topic(cluster_task.TOPIC)

    def _told(self, event: tuple[Any, Any]) -> None:
        values = event[1]
        if isinstance(values, Mapping):
            cell, worker, line = (str(values.get(key)) for key in ("cell", "name", "line"))
            self._reporter.progress(f"{cell} on {worker}: {line}")

    def _submit(self, cell: Cell, workers: Sequence[str] = ()) -> Future[str]:
        """Have a cell run, on one of ``workers`` if that is possible."""
        asked = json.dumps({"cell": cell_document(cell), "matrix": self._matrix})
        future = self._client.submit(
            self._task,
            asked,
            key=f"kbtf-ci-{self._id}-{cell.folder}-{self._tries[cell.name]}",
            workers=list(workers) or None,
            allow_other_workers=bool(workers),
            resources=dict(needs(cell)),
            pure=False,
        )
        self._cells[future] = cell
        return future

    def _others(self, away: Collection[str]) -> list[str]:
        return [one for one in self._client.scheduler_info(n_workers=-1)["workers"] if one not in away]

    def _next(self, cell: Cell, future: Future[str]) -> Iterator[tuple[Cell, Sequence[str]]]:
        """Take what a cell came to; yield what is to be run then, and on which workers if possible."""
        result, worker = self._result(cell, future)
        self._tries[cell.name] += 1
        if result.outcome is CellOutcome.INFRASTRUCTURE and self._tries[cell.name] < _TRIES:
            self._reporter.warn(f"{cell.name}: {result.error or result.outcome}: tried again elsewhere")
            self._away[cell.name].add(worker)
            yield cell, self._others(self._away[cell.name])
            return
        self._ended(result)
        took = result.compile_s or 0.0
        # Behind the first cell make finds everything compiled.
        compiling = self._compiling[cell.compiled] = max(took, self._compiling[cell.compiled])
        waiting = self._following.pop(cell.name, ())
        if not waiting:
            return
        near, *far = shares(waiting, compiling, result.seconds - took, self._idle())
        placed = [(near, [worker] if worker else []), *((share, self._others({worker})) for share in far)]
        for share, where in placed:
            self._following[share[0].name] = share[1:]
            yield share[0], where

    def _idle(self) -> int:
        """Return how many cells more the workers may run now."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        offered = sum(int((worker.get("resources") or {}).get(CELL, 0)) for worker in workers)
        return offered - len(self._cells)

    def _result(self, cell: Cell, future: Future[str]) -> tuple[CellResult, str]:
        """Return what a cell came to, with the address of its worker; its files lie in the folder then."""
        try:
            answer = json.loads(future.result())
            worker = str(answer["worker"])
            self._keep(cell, answer["files"])
            run = self._folder / cell.folder / "run"
            result = replace(result_of(answer["result"]), run=str(run) if run.is_dir() else "", worker=worker)
            return result, str(answer["address"])
        except KilledWorker as error:
            self._tries[cell.name] = _TRIES  # the scheduler has tried it on one after the other
            return self._lost(
                cell, f"its workers died: {error.last_worker.address}"
            ), error.last_worker.address
        except CancelledError:
            return self._lost(cell, "it was cancelled on the scheduler"), ""
        except Exception as error:
            return self._lost(cell, f"{type(error).__name__}: {error}"), ""

    def _lost(self, cell: Cell, why: str) -> CellResult:
        words = " ".join(why.split())[:500]
        return CellResult(
            cell.name, cell.digest, CellOutcome.INFRASTRUCTURE, error=words, kbtf_ci=__version__
        )

    def _keep(self, cell: Cell, files: Mapping[str, Mapping[str, str]]) -> None:
        """Write the files that came back, each held to its digest, all of them to a bound."""
        left = _MOST_FILES
        for name in (cluster_task.LOG, *cluster_task.FILES):
            if name not in files:
                continue
            data = base64.b64decode(files[name]["base64"], validate=True)
            left -= len(data)
            if left < 0 or hashlib.sha256(data).hexdigest() != files[name]["sha256"]:
                raise UsageError(f"{name}: not whole, or too large")
            below = (
                self._folder / cell.folder if name == cluster_task.LOG else self._folder / cell.folder / "run"
            )
            below.mkdir(parents=True, exist_ok=True)
            with whole_file(below / name) as file:
                file.write(data)
