# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Locks between runs: two may share a cache, but only one at a time may write one part of it.

The kernel drops a lock with the process that holds it, however that ends (flock(2)): none is ever stale. A
lock's file may be removed by whoever holds it; who waited for it takes the lock of the file that comes after.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError

_POLL_S: Final = 0.5
# Locks that ``keep_in_use`` took for the rest of this process, by path.
_IN_USE: Final[dict[Path, int]] = {}


def lock_of(folder: Path) -> Path:
    """Return the lock file of a folder, beside it; the folder's name may hold dots."""
    return folder.with_name(f"{folder.name}.lock")


def use_mark_of(folder: Path) -> Path:
    """Return the file beside a folder that its readers hold locked, stamped with its last use."""
    return folder.with_name(f"{folder.name}.used")


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold ``path`` locked; ``on_wait`` is called once when another process has it.

    The file's time stamp tells afterwards when it was last locked. Raises InfrastructureError when the file
    cannot be made.
    """
    descriptor = _try_lock(path, fcntl.LOCK_EX)
    if descriptor is None:
        if on_wait is not None:
            on_wait()
        descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        _touch(descriptor)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_with_children(path: Path, go_on: Callable[[], bool]) -> Iterator[int | None]:
    """Hold ``path`` locked and yield the descriptor; a child that inherits it holds it until it ends, too.

    So what a killed process started keeps others out as long as it is there. While somebody has it ``go_on``
    is asked now and then; None is yielded where that says no. Raises InfrastructureError as exclusive().
    """
    while (descriptor := _try_lock(path, fcntl.LOCK_EX)) is None:
        if not go_on():
            yield None
            return
        time.sleep(_POLL_S)
    try:
        _touch(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def if_free(*paths: Path) -> Iterator[bool]:
    """Hold all of ``paths`` locked and yield True; yield False when any of them is held by anyone.

    A lock that nobody ever took leaves no file behind.
    """
    held: dict[Path, int] = {}
    fresh = {path for path in paths if not path.exists()}
    try:
        for path in paths:
            descriptor = _try_lock(path, fcntl.LOCK_EX)
            if descriptor is None:
                break
            held[path] = descriptor
        yield len(held) == len(paths)
    finally:
        for path, descriptor in held.items():
            if path in fresh:
                path.unlink(missing_ok=True)
            os.close(descriptor)


def keep_in_use(folder: Path) -> None:
    """Mark ``folder`` as used by this process until it ends, so that ``if_free`` leaves it alone.

    Several processes may use one folder. Raises InfrastructureError when the mark cannot be made.
    """
    mark = use_mark_of(folder)
    if mark not in _IN_USE:
        _IN_USE[mark] = _lock(mark, fcntl.LOCK_SH)
    _touch(_IN_USE[mark])


def _try_lock(path: Path, kind: int) -> int | None:
    """Return a descriptor that holds the lock, None while another has it."""
    try:
        return _lock(path, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


def _lock(path: Path, kind: int) -> int:
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, kind)
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # removed by its last holder while this one waited


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InfrastructureError(f"{path}: cannot be locked: {error.strerror}") from error


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _touch(descriptor: int) -> None:
    os.utime(descriptor)
