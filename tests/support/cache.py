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
from kbtf_ci.infra.locks import exclusive

_PREFIX = "tests-"
_LOCK = "in-use.lock"


@dataclass(frozen=True)
class OwnCache:
    """The session's cache ``folder``, and the ``users`` cache from which it may be seeded."""

    folder: Path
    users: Path

    def seed(self) -> None:
        """Share the user's source trees, which nobody writes to, and copy what spares a kernel build."""
        for tree in (self.users / "source").glob("[!.]*"):
            if tree.is_dir():
                _folder(self.folder / "source").joinpath(tree.name).symlink_to(tree)
        build = _finished_build(self.users / "build")
        if build is not None:
            with exclusive(build.with_suffix(".lock")):
                _copy(build, _folder(self.folder / "build") / build.name)
        elif (self.users / "ccache").is_dir():
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


def _finished_build(builds: Path) -> Path | None:
    """Return the newest finished build of the smoke profile in the default suite."""
    made = {path.parent: path.stat().st_mtime_ns for path in builds.glob(f"*smoke*{DEFAULT_SUITE}*/vmlinux")}
    finished = [build for build in made if (build / "modules.order").is_file()]
    return max(finished, key=lambda build: made[build], default=None)


def _copy(source: Path, target: Path) -> None:
    # With all time stamps, by which make decides. A file that a compiler beside us removes is not missed.
    command: list[str | Path] = ["cp", "--archive", "--reflink=auto", source, target]
    subprocess.run(command, check=False, stderr=subprocess.DEVNULL)


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path
