# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Cells of a matrix sent to the workers of a Dask scheduler, each to one worker that has a place for it.

Where a cell goes is decided here and not left to Dask. It lets idle workers steal what waits on others, which
costs a whole build; it forgets what a cell wants of a worker together with a preference that cannot be kept;
and when a worker dies it counts that against all that waited there.
"""

from __future__ import annotations

import json
import queue
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from kbtf_ci import __version__
from kbtf_ci.errors import InterruptError
from kbtf_ci.model.cluster import Chain, Workers, able_workers, free_places, needs, place_for, shares, shown
from kbtf_ci.model.matrix import OPEN, Cell, CellOutcome
from kbtf_ci.model.matrix_results import CellResult
from kbtf_ci.report.matrix import cell_document
from kbtf_ci.workflow import cluster_task
from kbtf_ci.workflow.cell import CellsPlace
from kbtf_ci.workflow.cluster import workers_of
from kbtf_ci.workflow.cluster_answer import Answer

# What a cell that came to no verdict is given: other machines may have what this one lacks.
_TRIES: Final = 3
_LOOK_S: Final = 1.0
_FETCH_S: Final = 60.0
# So long a cell that no worker can run waits until that is told, and until it is given up.
_TELL_S: Final = 60.0
_GIVE_UP_S: Final = 600.0

Task = Callable[[str], str]


@dataclass
class _Alone:
    """Since when no worker can run a cell, and whether that was told."""

    since: float
    told: bool = False


@dataclass(frozen=True)
class _Sent:
    chain: Chain
    address: str


class Cluster:
    """Runs cells on workers: those that share compiled objects one behind the other, on the same worker.

    Where others are idle and it pays they get a share, and compile for themselves.
    """

    def __init__(
        self, client: Client, owner: str, place: CellsPlace, task: Task = cluster_task.run_task
    ) -> None:
        self._client, self._owner, self._task, self._place = client, owner, task, place
        # A worker may still be at work on what an earlier call of the same name did not want any more.
        self._id = uuid.uuid4().hex[:12]
        self._queue: list[Chain] = []
        self._sent: dict[Future[str], _Sent] = {}
        self._done: queue.SimpleQueue[Future[str]] = queue.SimpleQueue()
        self._tries: Counter[str] = Counter()
        # Seconds, by what tells compiled objects from others'.
        self._compiling: dict[str, float] = defaultdict(float)
        # As they were when looked at last, which costs more the more they are.
        self._workers: Workers = {}
        # By the cell's name.
        self._alone: dict[str, _Alone] = {}

    def run(self, cells: Sequence[Cell]) -> None:
        """Run cells until each has come to something; what is interrupted is not wanted on any worker.

        Raises InfrastructureError where the scheduler is gone, or an answer cannot be kept.
        """
        groups: dict[str, list[Cell]] = defaultdict(list)
        for cell in cells:
            groups[cell.compiled].append(cell)
        self._queue = [Chain(tuple(group)) for group in groups.values()]
        self._client.subscribe_topic(cluster_task.TOPIC, self._hear)
        next_look = 0.0
        try:
            while self._queue or self._sent:
                if (now := time.monotonic()) >= next_look:
                    self._look()
                    next_look = now + _LOOK_S
                self._send()
                with suppress(queue.Empty):
                    self._take(self._done.get(timeout=_LOOK_S))
        finally:
            with suppress(Exception):  # of a client whose scheduler is gone
                self._client.cancel(list(self._sent), force=True)
                self._client.unsubscribe_topic(cluster_task.TOPIC)

    def _hear(self, event: tuple[Any, Any]) -> None:
        values = event[1]
        # All that use the scheduler hear of all cells.
        if isinstance(values, Mapping) and values.get("call") == self._id:
            cell, name, line = (str(values.get(key)) for key in ("cell", "name", "line"))
            self._place.reporter.progress(f"{cell} on {name}: {line}")

    @property
    def _taken(self) -> Counter[str]:
        return Counter(one.address for one in self._sent.values())

    def _look(self) -> None:
        """Take back what was sent to workers that are gone, and find cells that none can run any more."""
        self._workers = workers_of(self._client)
        for future, sent in list(self._sent.items()):
            if sent.address not in self._workers:
                del self._sent[future]
                future.cancel()
                self._again(sent, f"its worker {sent.address} died")
        for chain in list(self._queue):
            if able_workers(chain, self._workers):
                self._alone.pop(chain.cells[0].name, None)
            else:
                self._wait_for_able(chain)

    def _send(self) -> None:
        """Send what has a place."""
        taken = self._taken
        for chain in list(self._queue):
            if not free_places(self._workers, taken):
                return
            address = place_for(chain, self._workers, taken)
            if address is not None:
                self._queue.remove(chain)
                self._submit(chain, address)
                taken[address] += 1

    def _submit(self, chain: Chain, address: str) -> None:
        cell = chain.cells[0]
        future = self._client.submit(
            self._task,
            json.dumps({"cell": cell_document(cell), "owner": self._owner, "call": self._id}),
            key=f"kbtf-ci-{self._id}-{cell.folder}-{self._tries[cell.name]}",
            workers=[address],
            resources=dict(needs(cell)),
            pure=False,
        )
        self._sent[future] = _Sent(chain, address)
        future.add_done_callback(self._done.put)

    def _wait_for_able(self, chain: Chain) -> None:
        """Tell of a cell that no worker can run any more, and give it up in the end."""
        cell, words = chain.cells[0], shown(needs(chain.cells[0]))
        alone = self._alone.setdefault(cell.name, _Alone(time.monotonic()))
        waited = time.monotonic() - alone.since
        if waited >= _GIVE_UP_S:
            self._queue.remove(chain)
            self._ended(chain, _lost(cell, f"no worker offers {words} any more"), "")
        elif waited >= _TELL_S and not alone.told:
            alone.told = True
            self._place.reporter.warn(f"{cell.name} waits: no worker offers {words} any more")

    def _take(self, future: Future[str]) -> None:
        """Take what a cell came to; what follows it is sent next."""
        sent = self._sent.get(future)
        if sent is None:
            return  # of a worker that was given up
        found = self._answer(sent, future)
        self._sent.pop(future)
        future.release()  # else its worker keeps it, and another one runs it again when that goes
        if isinstance(found, str):
            self._again(sent, found)
            return
        cell = sent.chain.cells[0]
        if found.left_out:
            stayed = f"{', '.join(found.left_out)} stayed on worker {found.result.worker}: too large"
            self._place.reporter.warn(f"{cell.name}: {stayed}")
        result = found.kept(self._place.folder / cell.folder)
        if result.outcome in OPEN:
            self._again(sent, result.error or result.outcome, result)
        else:
            self._ended(sent.chain, result, sent.address)

    def _answer(self, sent: _Sent, future: Future[str]) -> Answer | str:
        """Return a cell's answer, or why there is none."""
        try:
            while True:
                try:
                    return Answer.parse(sent.chain.cells[0], future.result(timeout=_FETCH_S))
                except TimeoutError:
                    if future.status == "error" or sent.address not in workers_of(self._client):
                        raise
        except InterruptError:
            raise
        except KilledWorker:
            return f"its worker {sent.address} died"
        except Exception as error:
            workers_of(self._client)
            return " ".join(f"{type(error).__name__}: {error}".split())[:500]

    def _again(self, sent: _Sent, why: str, result: CellResult | None = None) -> None:
        """Have a cell that came to no verdict run elsewhere, or give it up."""
        cell = sent.chain.cells[0]
        self._tries[cell.name] += 1
        if self._tries[cell.name] < _TRIES:
            self._place.reporter.warn(f"{cell.name}: {why}: tried again elsewhere")
            self._queue.insert(0, replace(sent.chain, near="", away=sent.chain.away | {sent.address}))
        else:
            self._ended(sent.chain, result or _lost(cell, why), "")

    def _ended(self, chain: Chain, result: CellResult, address: str) -> None:
        """Tell what a cell came to, and let those behind it wait for a place."""
        cell, *following = chain.cells
        self._place.ended(result)
        took = result.compile_s or 0.0
        # Behind the first cell make finds everything compiled.
        compiling = self._compiling[cell.compiled] = max(took, self._compiling[cell.compiled])
        if following:
            idle = free_places(self._workers, self._taken) - len(self._queue)
            near, *far = shares(following, compiling, result.seconds - took, idle)
            self._queue[:0] = [Chain(near, address), *map(Chain, far)]


def _lost(cell: Cell, why: str) -> CellResult:
    return CellResult(cell.name, cell.digest, CellOutcome.INFRASTRUCTURE, error=why, kbtf_ci=__version__)
