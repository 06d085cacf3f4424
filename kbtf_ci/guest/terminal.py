# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The user's standard input and output, connected to a shell in the guest."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

_CHUNK = 32768
_POLL_S = 0.2


class Stream(Protocol):
    """The guest's end, as paramiko's channel is one."""

    def fileno(self) -> int:
        """Return what becomes readable when there is something to receive."""

    def recv(self, nbytes: int) -> bytes:
        """Return the next bytes, none at the end."""

    def sendall(self, s: bytes) -> None:
        """Send all bytes."""

    def shutdown_write(self) -> None:
        """Say that there is no more to come."""


def present() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin.isatty()


def size() -> tuple[int, int]:
    """Return columns and lines."""
    return shutil.get_terminal_size()


@contextmanager
def raw(resized: Callable[[int, int], None]) -> Iterator[None]:
    """Hand every key to the guest, and every new size of the window to ``resized``."""
    descriptor = sys.stdin.fileno()
    saved = termios.tcgetattr(descriptor)
    handler = signal.signal(signal.SIGWINCH, lambda *_: resized(*size()))
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, saved)
        signal.signal(signal.SIGWINCH, handler)


def copy(stream: Stream, check: Callable[[], None]) -> None:
    """Copy both ways until the guest's end closes; ``check`` is called now and then, and may raise."""
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    sources = [stream.fileno(), keyboard]
    while True:
        ready, _, _ = select.select(sources, [], [], _POLL_S)
        if stream.fileno() in ready:
            data = stream.recv(_CHUNK)
            if not data:
                return
            _write(screen, data)
        if keyboard in ready:
            data = os.read(keyboard, _CHUNK)
            if data:
                stream.sendall(data)
            else:
                stream.shutdown_write()
                sources.remove(keyboard)
        if not ready:
            check()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
