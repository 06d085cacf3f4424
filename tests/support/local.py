# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The Runner protocol without an engine: the same command as a process of this machine.

Container paths of the mounts are replaced by the host's folders behind them, in arguments, environment and
workdir; a port is itself. It cannot keep a command from the network or from writing to a read-only mount.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kbtf_ci.errors import EngineError
from kbtf_ci.infra.runner import Command, Mount, Process

_PIECE = 65536


@dataclass(frozen=True)
class LocalRunner:
    """Runs commands on the host; ``started`` holds every command in order.

    ``paths`` stands for what the image holds: container paths and the host's paths in their place.
    """

    paths: Mapping[str, Path] = field(default_factory=dict)
    started: list[Command] = field(default_factory=list)

    def start(self, command: Command) -> AbstractContextManager[Process]:
        """Start ``command``; see ``kbtf_ci.infra.runner.Runner.start``."""
        for mount in command.mounts:
            if not mount.source.exists():
                raise EngineError(f"{mount.source} cannot be mounted: it does not exist")
        self.started.append(command)
        return self._started(command)

    @contextmanager
    def _started(self, command: Command) -> Iterator[Process]:
        process = LocalProcess(self._spawn(command))
        try:
            yield process
        finally:
            process.kill()
            process.close()

    def _spawn(self, command: Command) -> subprocess.Popen[bytes]:
        image = [Mount(source, target) for target, source in self.paths.items()]
        mounts = [*command.mounts, *image]
        env = {name: on_host(value, mounts) for name, value in command.env.items()}
        try:
            return subprocess.Popen(
                [on_host(word, mounts) for word in command.argv],
                cwd=on_host(command.workdir, mounts),
                env={"PATH": os.environ["PATH"], "HOME": "/tmp", **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"the command did not start: {error}") from error


class LocalProcess:
    """The Process protocol over a subprocess."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stdout is not None
        self._output = process.stdout

    def read(self, timeout: float | None = None) -> bytes:
        """Return the next output; see ``Process.read``."""
        ready, _, _ = select.select([self._output], [], [], timeout)
        if not ready:
            raise TimeoutError(f"no output within {timeout} s")
        return os.read(self._output.fileno(), _PIECE)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; see ``Process.wait``."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the command did not end within {timeout} s") from None
        return status if status >= 0 else 128 - status

    def port(self, number: int) -> int:
        """Return ``number``: the command listens on the host itself."""
        return number

    def kill(self) -> None:
        """End the command and all it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Reap the command."""
        self._process.wait()
        self._output.close()


def on_host(text: str, mounts: list[Mount]) -> str:
    """Return ``text`` with the container paths of ``mounts`` replaced, in ``O=/build`` and ``-I/src`` too."""
    hosts = {mount.target: str(mount.source) for mount in mounts}
    if not hosts:
        return text
    targets = "|".join(re.escape(target) for target in sorted(hosts, key=len, reverse=True))
    return re.sub(rf"(?:(?<![\w./-])|(?<=-[IL]))({targets})(?![\w.-])", lambda m: hosts[m[1]], text)
