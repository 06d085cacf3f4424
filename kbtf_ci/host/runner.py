# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The Runner protocol with processes of this machine, in the environment that kbtf-ci is called in.

It keeps no command from the network, from this machine's files, or from writing to what it is to read only.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from kbtf_ci.errors import EngineError
from kbtf_ci.host import keeper
from kbtf_ci.host.places import nested, on_host
from kbtf_ci.infra.runner import SCRATCH, Command, Process

_PIECE: Final = 65536
# Here a build directory is no fixed /build. The objects of one source are the same in each but for that
# folder in their debug information, of which BTF has nothing (ccache(1), hash_dir).
_ENVIRONMENT: Final = {"CCACHE_NOHASHDIR": "1"}


def search_path(*first: Path) -> str:
    """Return PATH with ``first`` before it and behind it where only root's leads."""
    return ":".join([*map(str, first), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class HostRunner:
    """Runs commands as processes of this machine; see ``kbtf_ci.infra.runner.Runner``.

    ``paths`` stands for what the toolchain image holds: its paths and this machine's in their place. ``path``
    is where programs are looked for.
    """

    paths: Mapping[str, Path] = field(default_factory=dict)
    path: str = field(default_factory=search_path)
    contained: ClassVar[bool] = False

    def start(self, command: Command) -> AbstractContextManager[Process]:
        """Start ``command``; see ``Runner.start``."""
        self._check(command)
        return self._started(command)

    @contextmanager
    def _started(self, command: Command) -> Iterator[Process]:
        scratch = Path(tempfile.mkdtemp(prefix="kbtf-ci-"))
        try:
            process = HostProcess(self._spawn(command, scratch))
        except BaseException:
            shutil.rmtree(scratch)
            raise
        try:
            yield process
        finally:
            process.kill()
            process.close()

    def _spawn(self, command: Command, scratch: Path) -> subprocess.Popen[bytes]:
        mounts = {mount.target: mount.source.resolve() for mount in command.mounts}
        places = {SCRATCH: scratch / "files", **self.paths, **mounts}
        argv = [on_host(word, places) for word in command.argv]
        if shutil.which(argv[0], path=self.path) is None:
            raise EngineError(f"the command did not start: there is no command {argv[0]} on this machine")
        env = {name: on_host(value, places) for name, value in command.env.items()}
        own = {"PATH": self.path, "HOME": str(scratch), "TMPDIR": str(scratch), **_ENVIRONMENT}
        try:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), str(scratch), *argv],
                cwd=on_host(command.workdir, places),
                env={**own, **env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # an interrupt at the terminal is ours alone
            )
        except OSError as error:
            raise EngineError(f"the command did not start: {error}") from error

    def _check(self, command: Command) -> None:
        """Raise EngineError for what is not there, and for what only a container can do."""
        sources = [mount.source for mount in command.mounts] + [Path(device) for device in command.devices]
        for source in sources:
            if not source.exists():
                raise EngineError(f"{source} cannot be given to the {command.label}: it does not exist")
        inner = "" if self.contained else nested([mount.target for mount in command.mounts])
        if inner:
            raise EngineError(
                f"the {command.label} wants another file at {inner}, which only a container can give it",
                hint="use --engine container",
            )


class HostProcess:
    """The Process protocol over a keeper, which dies with its command."""

    def __init__(self, keeper: subprocess.Popen[bytes]) -> None:
        self._keeper = keeper
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        self._line, self._output = keeper.stdin, keeper.stdout

    def read(self, timeout: float | None = None) -> bytes:
        """Return the next output; see ``Process.read``."""
        ready, _, _ = select.select([self._output], [], [], timeout)
        if not ready:
            raise TimeoutError(f"no output within {timeout} s")
        return os.read(self._output.fileno(), _PIECE)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status; see ``Process.wait``."""
        try:
            status = self._keeper.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the command did not end within {timeout} s") from None
        return status if status >= 0 else 128 - status

    def port(self, number: int) -> int:
        """Return ``number``: the command listens on this machine itself."""
        return number

    def kill(self) -> None:
        """End the command and all that it started; see ``Process.kill``."""
        self._line.close()

    def close(self) -> None:
        """Return when nothing is left of the command."""
        self._keeper.wait()
        self._output.close()
