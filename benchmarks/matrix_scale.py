# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a Dask scheduler takes for many cells on many workers, all of them in this process.

The scheduler is a real one, and so is every message; the cells only sleep, and come back as large as a real
cell's answer with ``--answer`` bytes of reports. Printed are the wall time beside the least that sleeping
alone would take, this process's CPU time a cell, the bytes of its answers, and its memory.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import resource
import tempfile
import time
from functools import partial
from pathlib import Path

from distributed import Client, LocalCluster, get_worker

from kbtf_ci import __version__
from kbtf_ci.model.matrix import Cell, CellOutcome, Choice, multiply
from kbtf_ci.model.matrix_results import CellResult
from kbtf_ci.report.matrix import cell_of
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.cell import CellsPlace
from kbtf_ci.workflow.cluster import require_workers
from kbtf_ci.workflow.dispatch import Cluster


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--sleep", type=float, default=1.0, help="seconds of each cell")
    parser.add_argument("--answer", type=int, default=100_000, help="bytes that come back of each")
    parser.add_argument("--together", type=int, default=1, help="cells that share compiled objects")
    options = parser.parse_args()
    cells = _cells(options.cells, options.together)
    with (
        LocalCluster(
            n_workers=options.workers, threads_per_worker=1, processes=False, dashboard_address=":0",
            resources={"cell": 1}, silence_logs=50, memory_limit=0,
        ) as local,
        Client(local, set_as_default=False) as client,
        tempfile.TemporaryDirectory() as folder,
    ):  # fmt: skip
        began, cpu = time.monotonic(), time.process_time()
        require_workers(client, cells)
        ended: list[CellResult] = []
        place = CellsPlace(Path(folder), ended.append, TerminalReporter(quiet=True))
        task = partial(_sleep, seconds=options.sleep, size=options.answer)
        Cluster(client, "scale", place, task).run(cells)
        wall, used = time.monotonic() - began, time.process_time() - cpu
    least = options.sleep * -(-len(cells) // options.workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(
        f"{len(cells)} cells on {options.workers} workers: {len({one.name for one in ended})} came back, "
        f"{wall:.1f} s (sleeping alone {least:.1f}), {1000 * used / len(cells):.1f} CPU ms a cell, "
        f"{len(cells) * options.answer >> 20} MiB of answers, peak {peak} MiB"
    )


def _cells(number: int, together: int) -> list[Cell]:
    kernels = [Choice(f"k{one}", {"config": f"c{one}"}) for one in range(-(-number // together))]
    paholes = [Choice(f"p{one}", {"pahole": f"s{one}"}) for one in range(together)]
    return list(multiply("scale", "", {}, {"kernel": kernels, "pahole": paholes}).cells[:number])


def _sleep(text: str, *, seconds: float, size: int) -> str:
    cell = cell_of(json.loads(text)["cell"])
    time.sleep(seconds)
    data = bytes(size * 3 // 4)
    result = CellResult(cell.name, cell.digest, CellOutcome.VERIFIED, seconds, kbtf_ci=__version__)
    worker = get_worker()
    file = {"sha256": hashlib.sha256(data).hexdigest(), "base64": base64.b64encode(data).decode()}
    return json.dumps({
        "result": result.document(), "worker": str(worker.name), "address": worker.address,
        "files": {"report.html": file}, "left_out": [],
    })  # fmt: skip


if __name__ == "__main__":
    main()
