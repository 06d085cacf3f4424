# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci worker``: this machine as a worker of a Dask scheduler, with what doctor finds that it can do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from distributed import Worker

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model.cluster import CELL, KVM, ClusterOptions, shown
from kbtf_ci.workflow.cluster import connect_errors, security_of
from kbtf_ci.workflow.doctor import Finding, examine

_KVM_FINDING = "KVM"


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
    with connect_errors(options):
        asyncio.run(_work(options, resources, cells, name))


async def _work(options: ClusterOptions, resources: Mapping[str, float], cells: int, name: str) -> None:
    folder = cache_root() / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    async with Worker(
        options.scheduler or None,
        scheduler_file=str(options.scheduler_file) if options.scheduler_file else None,
        nthreads=cells,
        name=name or None,
        resources=dict(resources),
        local_directory=str(folder),
        security=security_of(options),
        # A cell's memory is that of its containers, of which Dask knows nothing.
        memory_limit=0,
        death_timeout="30s",
    ) as worker:
        await worker.finished()
