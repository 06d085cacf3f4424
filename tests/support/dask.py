# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A scheduler and workers of Dask's in processes of their own, as users start them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import PATIENCE_S

_END_S = 20


class DaskProcesses:
    """A scheduler that has said its address in ``file``, and what is started besides, with their logs."""

    def __init__(self, folder: Path, *more: object) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.started: list[subprocess.Popen[bytes]] = []
        words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", self.file, *more)
        self.start("distributed.cli.dask_scheduler", *words)
        end = time.monotonic() + PATIENCE_S
        while not self.file.exists():
            assert time.monotonic() < end, [log.read_text() for log in folder.glob("*.log")]
            time.sleep(0.05)

    def start(self, module: str, *words: object) -> subprocess.Popen[bytes]:
        """Start a module of Python's."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with (self.folder / f"{len(self.started)}.log").open("wb") as log:
            argv = [sys.executable, "-m", module, *map(str, words)]
            process = subprocess.Popen(
                argv, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        self.started.append(process)
        return process

    def stop(self) -> None:
        """End them, the scheduler last; a worker of Dask's that loses it amid its own end may hang."""
        for process in reversed(self.started):
            process.terminate()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def dask_processes(folder: Path, *more: object) -> Iterator[DaskProcesses]:
    """Give a scheduler in a folder, with ``more`` on its command line, and end all that was started."""
    folder.mkdir()
    found = DaskProcesses(folder, *more)
    try:
        yield found
    finally:
        found.stop()
