# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The further ids of a user without root, of which a rootless engine and mmdebstrap make an image's users."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kbtf_ci.errors import EngineError, InfrastructureError

FILES = (Path("/etc/subuid"), Path("/etc/subgid"))
# What useradd(8) gives where login.defs(5) says nothing else.
_FIRST = 100_000
_COUNT = 65_536


@contextmanager
def to_blame() -> Iterator[None]:
    """Around what cannot work without them: raise EngineError that says so where it fails and they lack.

    Not before: a storage that puts up with files of wrong owners needs none.
    """
    try:
        yield
    except InfrastructureError as error:
        user = _name()
        if os.geteuid() == 0 or not (lacking := [str(file) for file in FILES if not _has(user, file)]):
            raise
        raise EngineError(
            f"the user {user} has no range of ids in {' and '.join(lacking)}, and without one makes no image",
            hint=f"have an administrator run `{_remedy(user)}`, then run `podman system migrate`, or start a"
            " rootless Docker again",
            detail=error.message,
        ) from error


def _name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _has(user: str, file: Path) -> bool:
    """Return whether ``user`` has a range; where getsubids(1) is, it knows of other places than the file."""
    if getsubids := shutil.which("getsubids"):
        words = [getsubids, "-g", user] if file == FILES[1] else [getsubids, user]
        asked = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if asked.returncode == 0 and asked.stdout.strip():
            return True
    return any(owner in (user, str(os.geteuid())) for owner, _ in _ranges(file))


def _remedy(user: str) -> str:
    """Return the command that gives ``user`` ranges which are nobody's yet."""
    first = max([_FIRST, *(end for file in FILES for _, end in _ranges(file))])
    ids = f"{first}-{first + _COUNT - 1}"
    return f"usermod --add-subuids {ids} --add-subgids {ids} {user}"


def _ranges(file: Path) -> list[tuple[str, int]]:
    """Return the owner of each of a file's ranges, and the first id behind it (subuid(5))."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return []
    fields = [line.split(":") for line in lines]
    return [
        (field[0], int(field[1]) + int(field[2]))
        for field in fields
        if len(field) == 3 and field[1].isdigit() and field[2].isdigit()
    ]
