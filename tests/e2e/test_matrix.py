# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Real cells: what they share, and what is left of one whose worker was killed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from tests.e2e.conftest import BUILD_S, Cli
from tests.support.cache import OwnCache
from tests.support.dask import DaskProcesses, dask_processes

pytestmark = pytest.mark.full
GONE_S = 30  # after which nothing of a killed worker's cell may be left
TEXT = """
[options]
config = "smoke"
[axes]
pahole = ["trixie", "bookworm"]
"""


@pytest.fixture
def plan(cli: Cli, own: OwnCache, toolchain: Toolchain) -> Path:
    own.seed()
    path = cli.folder / "paholes.toml"
    path.write_text(TEXT)
    return path


def test_cells_that_differ_in_the_pahole_share_what_is_compiled(cli: Cli, plan: Path) -> None:
    done = cli("matrix", "run", plan, "-o", "out", "--json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    cells = {one["name"]: one["result"] for one in json.loads(done.stdout)["cells"]}
    assert {one["outcome"] for one in cells.values()} == {"verified"}
    assert (cells["trixie"]["pahole"], cells["bookworm"]["pahole"]) == ("130", "124")
    assert cells["bookworm"]["libbpf"].startswith("1.1.")
    runs = {name: json.loads((Path(one["run"]) / "run.json").read_text()) for name, one in cells.items()}
    assert runs["bookworm"]["make"].get("CC", 0) < 100
    assert runs["bookworm"]["make"]["BTF [M]"] == cells["bookworm"]["modules"]


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[DaskProcesses]:
    with dask_processes(tmp_path / "dask") as found:
        yield found


def test_of_a_killed_workers_cell_nothing_is_left_and_it_is_run_again(
    cli: Cli, plan: Path, dask: DaskProcesses, engine: Engine
) -> None:
    client = docker.DockerClient(base_url=engine.address.url)

    def held() -> set[str]:
        found = client.containers.list(all=True, ignore_removed=True, filters={"label": "kbtf-ci.pid"})
        return {str(one.id) for one in found}

    before = held()
    workers = {
        name: dask.start("kbtf_ci", "worker", "--scheduler-file", dask.file, "--name", name)
        for name in ("a", "b", "c")
    }
    matrix = cli.start("matrix", "run", plan, "-o", "out", "--json", "--scheduler-file", dask.file)
    end = time.monotonic() + BUILD_S
    while not (first := held() - before):
        assert matrix.poll() is None, matrix.communicate()
        assert time.monotonic() < end
        time.sleep(0.2)
    time.sleep(5)  # amid make, mostly
    victim = next(one for one in workers.values() if _has_cell(one.pid))
    victim.send_signal(signal.SIGKILL)
    end = time.monotonic() + GONE_S
    while held() & first:
        assert time.monotonic() < end, "containers of the killed worker's cell"
        time.sleep(0.2)
    out, err = matrix.communicate(timeout=BUILD_S)
    assert matrix.returncode == 0, out[-3000:] + err[-3000:]
    cells = [one["result"] for one in json.loads(out)["cells"]]
    assert [one["outcome"] for one in cells] == ["verified", "verified"]
    assert {one["worker"] for one in cells} <= set(workers)
    assert held() == before


def _has_cell(pid: int) -> bool:
    """Whether a process has started a cell's command."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return any(path.read_text().strip() for path in children)
