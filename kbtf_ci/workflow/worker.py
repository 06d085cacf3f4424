# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci worker``: this machine as a worker of a Dask scheduler, with what doctor finds that it can do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

import dask
from distributed import Worker

from kbtf_ci.errors import InfrastructureError, InterruptError
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model.cluster import CELL, KVM, ClusterOptions, shown
from kbtf_ci.workflow.cluster import CONNECT_S, connect_errors, security_of
from kbtf_ci.workflow.cluster_task import cells_folder
from kbtf_ci.workflow.doctor import Finding, examine

# Its threads wait for cells' commands: there is nothing to sample a hundred times a second, and the cores are
# wanted for compiling.
_SETTINGS: Final = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}
_KVM_FINDING: Final = "KVM"
_CLOSE_S: Final = 10  # for its words to a scheduler, which may be gone itself


def offered(findings: Iterable[Finding], cells: int) -> Mapping[str, float]:
    """Return the resources that this machine offers. Raises InfrastructureError where it can run no cell."""
    found = {CELL: float(cells)}
    for finding in findings:
        if finding.state == "bad":
            raise InfrastructureError(
                f"this machine runs no cell: {finding.subject}: {finding.detail}", hint=finding.remedy
            )
        if finding.subject == _KVM_FINDING and finding.state == "ok":
            found[KVM] = float(cells)
    return found


def work(options: ClusterOptions, cells: int, name: str, reporter: Reporter) -> None:
    """Be a worker until the scheduler closes it. Raises InfrastructureError where none answers."""
    resources = offered(examine(), cells)
    reporter.note(f"offers {shown(resources)}")
    asyncio.run(serve(options, resources, cells, name))


async def serve(options: ClusterOptions, resources: Mapping[str, float], cells: int, name: str) -> None:
    """Be a worker with these resources until the scheduler closes it.

    Raises InterruptError once a signal came, InfrastructureError where no scheduler answers.
    """
    with _interruptible(), dask.config.set(_SETTINGS):
        with connect_errors(options):
            worker = await Worker(
                options.scheduler or None,
                scheduler_file=str(options.scheduler_file) if options.scheduler_file else None,
                nthreads=cells,
                name=name or None,
                resources=dict(resources),
                local_directory=str(cells_folder()),
                security=security_of(options),
                # A cell's memory is that of its containers, of which Dask knows nothing.
                memory_limit=0,
                death_timeout=f"{CONNECT_S}s",
            )
        try:
            await worker.finished()
        finally:
            with suppress(TimeoutError):
                await asyncio.wait_for(worker.close(timeout=_CLOSE_S), 2 * _CLOSE_S)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a signal cancel this task, and raise InterruptError then.

    What a handler of Python's raises amid a callback, the loop would log and forget.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    came: list[signal.Signals] = []

    def interrupt(number: signal.Signals) -> None:
        came.append(number)
        if task is not None and len(came) == 1:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt, number)
    try:
        yield
    except asyncio.CancelledError:
        if not came:
            raise
        raise InterruptError(f"interrupted by {came[0].name}") from None
