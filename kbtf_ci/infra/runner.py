# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a stage may ask for: a command in the toolchain image, with these folders and nothing else.

The stages under ``kernel`` and ``guest`` know only this protocol. The container engine implements it, and
so does this machine, as far as it can (``kbtf_ci.host``).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

# Where a command finds a folder of its own: what it is given lies there, and what it makes.
FILES: Final = "/files"
# A folder that a command may make for what it needs meanwhile; it goes with the command.
SCRATCH: Final = "/tmp/kbtf-ci"  # noqa: S108 - a tmpfs of the container's own
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host, seen by the command at ``target``; read-only unless ``writable``."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Command:
    """A command line with everything it may see.

    A mount's target is named by a whole word of ``argv``, by the beginning of one up to a slash, or so behind
    NAME=, and by values of ``env`` likewise; a shell's script takes it as an argument. Other runners than
    containers have their own path in its place.

    ``ports`` are TCP ports that the command listens on; each becomes an ephemeral port of the host's
    127.0.0.1. A command without ports gets no network at all. ``devices`` are device nodes such as
    ``/dev/kvm``. ``label`` says in the engine's own listings what the command is for.
    """

    argv: tuple[str, ...]
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    workdir: str = "/"
    ports: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    label: str = "command"


class Process(Protocol):
    """A command under way."""

    def read(self, timeout: float | None = None) -> bytes:
        """Return the next bytes of standard output and error, merged in order; ``b""`` at the end.

        Raises TimeoutError when nothing came within ``timeout`` seconds (None: wait for ever), and
        EngineError when the engine was lost.
        """

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status: 128 + N for signal N. Raises TimeoutError and EngineError as ``read``."""

    def port(self, number: int) -> int:
        """Return the host's TCP port on 127.0.0.1 that leads to the command's port ``number``."""

    def kill(self) -> None:
        """End the command at once; harmless when it has ended."""


class Runner(Protocol):
    """Starts commands."""

    @property
    def contained(self) -> bool:
        """Whether a command has files and a network of its own.

        Where it has not, no mount may lie within another one, and others may hold a port: see ``endpoint``.
        """

    def start(self, command: Command) -> AbstractContextManager[Process]:
        """Start ``command``; leaving the context kills it and removes every trace of it.

        Raises EngineError when it cannot be started.
        """


def endpoint(runner: Runner, port: int) -> tuple[str, int]:
    """Return address ("" for all) and port at which a command of ``runner`` is to listen.

    The port is ``port`` in a network of its own, else one that is free on this machine.
    """
    if runner.contained:
        return "", port
    with socket.create_server((_LOOPBACK, 0)) as server:
        free: int = server.getsockname()[1]
        return _LOOPBACK, free


@dataclass(frozen=True)
class Completed:
    """The end of a command: exit status and everything it printed."""

    status: int
    output: bytes

    @property
    def text(self) -> str:
        """The output as text; bytes that are not UTF-8 are replaced."""
        return self.output.decode(errors="replace")


def run(runner: Runner, command: Command, on_output: Callable[[bytes], None] | None = None) -> Completed:
    """Run ``command`` to its end and return status and output; ``on_output`` sees each piece as it comes."""
    pieces: list[bytes] = []
    with runner.start(command) as process:
        while piece := process.read():
            pieces.append(piece)
            if on_output is not None:
                on_output(piece)
        return Completed(process.wait(), b"".join(pieces))
