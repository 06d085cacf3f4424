# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A make that was killed, and what it left half written.

An interrupt takes make's container away, a crash the machine: make removes no target then, and the next one
takes what is cut short for made, since it is newer than all that it is made from.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError

_OWN: Final = ".kbtf-ci"
_MARK: Final = "making"
_CONFIG: Final = ".config"  # which is not make's to write, and may be newer than the mark


@contextmanager
def making(build_dir: Path) -> Iterator[None]:
    """Hold a mark in the build directory while make is at work; any exception leaves it there.

    Where one was left, all that was written since it was made goes first: ccache gives most of it back.
    Raises InfrastructureError when a file cannot be removed.
    """
    mark = build_dir / _OWN / _MARK
    try:
        if mark.exists():
            for file in _written_since(build_dir, mark.stat().st_mtime_ns):
                file.unlink()
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
    except OSError as error:
        raise InfrastructureError(f"{error.filename}: cannot be written: {error.strerror}") from error
    yield
    mark.unlink(missing_ok=True)


def _written_since(build_dir: Path, moment_ns: int) -> Iterator[Path]:
    for folder, folders, files in os.walk(build_dir):
        folders[:] = [name for name in folders if name != _OWN]
        for file in (Path(folder, name) for name in files if name != _CONFIG):
            state = file.lstat()
            if stat.S_ISREG(state.st_mode) and state.st_mtime_ns >= moment_ns:
                yield file
