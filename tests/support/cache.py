# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A cache of the tests' own, so that no test changes what a user's later run uses.

It lies in the user's cache folder, where there is room for a kernel build, and goes with the session.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.infra.locks import exclusive, if_free, keep_in_use, lock_of

_PREFIX = "tests-"
_LOCK = "in-use.lock"


@dataclass(frozen=True)
class OwnCache:
    """The session's cache ``folder``, and the ``users`` cache from which it may be seeded."""

    folder: Path
    users: Path

    def seed(self) -> None:
        """Share the user's source trees, which nobody writes to, and copy what spares a kernel build.

        What somebody is writing or removing is left alone; what is shared stays until this process ends.
        """
        # One session after the other: each would take what the other one copies for a build under way.
        with exclusive(self.users / "locks" / "tests-seed"):
            for tree in (self.users / "source").glob("[!.]*/"):
                _share(tree, self.folder / "source")
            if not any(_copied(build, self.folder / "build") for build in _builds(self.users / "build")):
                # A file that a compiler beside us removes is not missed.
                _copy(self.users / "ccache", self.folder / "ccache")


@contextmanager
def own_cache(users: Path) -> Iterator[OwnCache]:
    """Make an empty cache that knows the user's own container engine; it is removed at the end."""
    users.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with exclusive(users / "locks" / "tests"):
            _sweep(users)
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=users))
            held.enter_context(exclusive(folder / _LOCK))
        socket = users / "engine" / "docker.sock"
        if socket.exists():
            _folder(folder / "engine").joinpath(socket.name).symlink_to(socket)
        try:
            yield OwnCache(folder, users)
        finally:
            # The folder's own lock goes with it, and not last: a sweep meanwhile would take it for one left.
            with exclusive(users / "locks" / "tests"):
                shutil.rmtree(folder)


class _InUseError(Exception):
    """Another session has it."""


def _sweep(users: Path) -> None:
    """Remove what killed sessions left behind."""

    def in_use() -> None:
        raise _InUseError

    for left in users.glob(f"{_PREFIX}*"):
        with suppress(_InUseError), exclusive(left / _LOCK, in_use):
            shutil.rmtree(left)


def _share(tree: Path, folder: Path) -> None:
    with if_free(lock_of(tree)) as free:
        if free and tree.is_dir():
            keep_in_use(tree)
            _folder(folder).joinpath(tree.name).symlink_to(tree)


def _builds(folder: Path) -> list[Path]:
    """Return the build directories of the smoke profile on the default suite's own source, the newest first.

    Those of other sources spare nothing: their names begin with a tree's or a tarball's.
    """
    return sorted(folder.glob(f"{DEFAULT_SUITE}-*-smoke-{DEFAULT_SUITE}"), key=_made, reverse=True)


def _made(build: Path) -> int:
    """Return when vmlinux was linked, in ns; 0 where there is none, as while it is linked again."""
    with suppress(FileNotFoundError):
        return (build / "vmlinux").stat().st_mtime_ns
    return 0


def _copied(build: Path, folder: Path) -> bool:
    """Copy a finished build; False where it is none, somebody uses it, or it does not fit on the disk."""
    with if_free(lock_of(build)) as free:
        if not free or not all((build / name).is_file() for name in ("vmlinux", "modules.order")):
            return False
        target = _folder(folder) / build.name
        if not _copy(build, target):
            # Half a file is newer than all that it is made from: make would take it for done.
            shutil.rmtree(target, ignore_errors=True)
            return False
        return True


def _copy(source: Path, target: Path) -> bool:
    """Copy with all time stamps, by which make decides; False when something of it could not be copied."""
    command: list[str | Path] = ["cp", "--archive", "--reflink=auto", source, target]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path
