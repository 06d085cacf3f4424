# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A program on a terminal: a pty, and all that is written to it."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

_SIZE = struct.pack("HHHH", 24, 80, 0, 0)


def on_terminal(
    argv: Sequence[str | Path], variables: Mapping[str, str], stdout: int | None = None
) -> tuple[int, str]:
    """Run a program whose standard error, and output unless ``stdout`` says where, is a terminal.

    It has 80 columns. ``variables`` are all that its environment holds. Returns its exit status and what the
    terminal got.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, _SIZE)
    try:
        with subprocess.Popen(
            argv,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            written = b"".join(iter(lambda: _piece(ours), b""))
        return process.returncode, written.decode()
    finally:
        os.close(ours)


def _piece(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: nobody has the other end any more
        return b""
