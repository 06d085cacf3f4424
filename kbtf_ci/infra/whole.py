# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Files whose existence may be trusted: they get their name when they are whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

_PIECE: Final = 1 << 20


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a file to write to that becomes ``path`` at the end, or is gone when that is an exception.

    It lies beside ``path`` as ``.<name>-...``. Its bytes reach the disk before its name does, so that no
    crash of the machine leaves the name without them. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def put_in_place(made: Path, target: Path, *, like_target: bool) -> None:
    """Give the file ``made`` the name ``target``, whose content is the old or the new one, never a part.

    With ``like_target`` it gets mode, owner and extended attributes of what is there; its times stay those of
    its making, by which make and depmod know it as new. Raises OSError, and then leaves ``target`` as it was.
    """
    if like_target:
        _take_attributes(made, target)
    else:
        made.chmod(0o644)
    try:
        made.replace(target)
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    _copy_in_place(made, target)


def _copy_in_place(made: Path, target: Path) -> None:
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as copy, made.open("rb") as source:
            shutil.copyfileobj(source, copy, _PIECE)
        _take_attributes(beside, made)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    made.unlink()


def _take_attributes(file: Path, other: Path) -> None:
    status = other.stat()
    own = file.stat()
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        with suppress(PermissionError):  # who may write to a folder need not own what is in it
            os.chown(file, status.st_uid, status.st_gid)
    shutil.copystat(other, file)
    os.utime(file, ns=(own.st_mtime_ns, own.st_mtime_ns))
