# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs beside kbtf-ci, not in it: starts one command, and leaves nothing of it behind, whoever ends first.

    python3 keeper.py PARENT SCRATCH COMMAND...

The command, and whatever it starts, is killed when it ends itself, when this process's standard input ends,
and when PARENT, the process that started this one, is gone. Then the folder SCRATCH is removed. It ends with
the command's exit status, 128 + N for signal N, 127 for a command that cannot be started.

A parent's death signal (prctl(2)) would come when the thread that started the command ends, and reach one
process alone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import select
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_NOT_STARTED = 127
_POLL_S = 1.0  # for a parent whose standard input's other end a process that it forked still holds


def main(parent: int, scratch: str, argv: list[str]) -> int:
    """Run ``argv`` to its end, or to ours; return its exit status."""
    # What loses its parent becomes our child, so that it is found in the end, in whatever session it is.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        wakeup = _woken_by_children()
        child = _start(argv)
        _be_silent()
        status = _follow(child, parent, wakeup)
        _end_all()
        return status
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        return _NOT_STARTED
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _start(argv: list[str]) -> int:
    return os.posix_spawnp(
        argv[0],
        argv,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
        setsid=True,
        setsigmask=[],
        # Python ignores SIGPIPE, and whoever called kbtf-ci may ignore others.
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
    )


def _be_silent() -> None:
    """Let the output end with the last process that writes to it, which this one is not."""
    with Path(os.devnull).open("wb") as nothing:
        for descriptor in (1, 2):
            os.dup2(nothing.fileno(), descriptor)


def _woken_by_children() -> int:
    """Return what can be read as soon as a child ends."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _follow(child: int, parent: int, wakeup: int) -> int:
    """Return the exit status of ``child``, which is killed when nobody is left who waits for it."""
    while True:
        ready, _, _ = select.select([0, wakeup], [], [], _POLL_S)
        if 0 in ready or os.getppid() != parent:
            os.kill(child, signal.SIGKILL)  # not waited for yet: the number is still its own
            return _status(os.waitpid(child, 0)[1])
        if wakeup in ready:
            os.read(wakeup, 4096)
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            if ended[0] == child:
                return _status(ended[1])


def _status(wait_status: int) -> int:
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def _end_all() -> None:
    """Kill what is left: the children of what was killed become ours, until there are none."""
    while True:
        for pid in _children():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _children() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent_of(path) == os.getpid()]


def _parent_of(process: Path) -> int:
    """Return a process's parent by proc(5), field 4; field 2 may hold blanks and brackets itself."""
    try:
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0  # it has ended meanwhile


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
