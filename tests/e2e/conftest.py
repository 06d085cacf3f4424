# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One real smoke run for all end-to-end tests, and the command line as a user calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from tests.support.cache import OwnCache
from tests.support.schemas import valid, valid_by_its_word
from tests.support.waiting import PATIENCE_S

# What a cold build of the smoke kernel may take on two cores that others use as well.
BUILD_S = 3600
KBTF_CI = str(Path(sys.executable).with_name("kbtf-ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an end-to-end test, and the first of them may build a kernel."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(2 * BUILD_S))


@dataclass(frozen=True)
class Cli:
    """Calls kbtf-ci in a folder of its own."""

    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *words: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [KBTF_CI, *map(str, words)],
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)

    def __call__(
        self, *words: str | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Call it, and hold what ``--json`` has it print against its schema."""
        process = self.start(*words, env=env)
        out, err = process.communicate(timeout=BUILD_S)
        if "--json" in words and out:
            valid_by_its_word(json.loads(out))
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    calls = Cli(tmp_path)
    yield calls
    calls.stop()


@pytest.fixture(scope="session")
def smoke_run(own: OwnCache, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a smoke run that verified everything."""
    own.seed()
    folder = tmp_path_factory.mktemp("smoke")
    done = Cli(folder)("run", "--config", "smoke", "-o", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


@pytest.fixture
def spare_run(smoke_run: Path, tmp_path: Path) -> Path:
    """A copy of the smoke run that a test may spoil."""
    return shutil.copytree(smoke_run, tmp_path / "spare", ignore=shutil.ignore_patterns("*.cpio"))


# The image's own suite; the meta package names the current kernel. The cloud flavour is the smallest with
# more than a thousand modules, the guest's own drivers among them.
DOWNLOAD = """
set -e
apt-get update -q
name=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/ *Depends: //p')
mkdir /out/meta && cd /out/meta && apt-get download -q linux-image-cloud-amd64
cd /out && apt-get download -q "$name"
dpkg-deb -x "$name"_*.deb tree
chmod -R a+rX tree meta
"""


@pytest.fixture(scope="session")
def package(engine: Engine, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution's kernel, as its package is."""
    folder = tmp_path_factory.mktemp("package")
    client = docker.DockerClient(base_url=engine.address.url)
    client.containers.run(
        toolchain.image, ["sh", "-c", DOWNLOAD], user="0", remove=True,
        volumes={str(folder): {"bind": "/out", "mode": "rw"}},
    )  # fmt: skip
    (found,) = folder.glob("*.deb")
    return found


@dataclass(frozen=True)
class Containers:
    """What the engine holds of one kbtf-ci process."""

    client: docker.DockerClient

    def of(self, process: subprocess.Popen[str]) -> list[Any]:
        held = self.client.containers.list(all=True, ignore_removed=True, filters={"label": "kbtf-ci.pid"})
        return [one for one in held if one.labels["kbtf-ci.pid"].split("/")[1] == str(process.pid)]


@pytest.fixture
def containers(engine: Engine) -> Containers:
    return Containers(docker.DockerClient(base_url=engine.address.url))


def results(run: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run / "results.json").read_text())
    valid("results", values)
    return values
