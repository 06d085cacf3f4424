# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The cache's folders: what they hold, how large it is, who uses it, and how it goes.

Only what kbtf-ci made under a lock of its own is listed. A folder loses its name before it loses its files:
an interrupt leaves nothing half under a name that is trusted, and the next prune finds the rest.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from kbtf_ci.infra.locks import if_free, lock_of, use_mark_of
from kbtf_ci.model.prune import Kind

_PRUNED: Final = ".pruned-"
_PACKAGES: Final = re.compile(r"[0-9a-f]{16}")
# What commands that were killed leave behind, by the folder it lies in.
_LEFT_OVER: Final = {
    "source": (".unpack-*", ".download-*"),
    "build": (".pahole-*", ".encode-*"),
    "packages": (".unpack-*",),
    "pahole": (".pahole-*",),
    "programs": (".programs-*",),
    ".": ("base-*",),
}


@dataclass(frozen=True)
class Entry:
    """A folder or file of the cache, and the locks that its users hold; the own ones go with it."""

    kind: Kind
    path: Path
    own_locks: tuple[Path, ...] = ()
    shared_locks: tuple[Path, ...] = ()

    @property
    def discarded(self) -> bool:
        """Whether an earlier prune took its name away and was interrupted."""
        return self.path.name.startswith(_PRUNED)

    @property
    def last_used(self) -> datetime:
        """When it was last locked or made."""
        made = self.path.lstat()
        stamps = [lock.stat().st_mtime for lock in self.own_locks if lock.exists()]
        if self.kind is not Kind.PACKAGES:
            stamps.append(made.st_mtime)
        # What is unpacked has its time stamp from the archive; st_ctime tells when it got its name here.
        return datetime.fromtimestamp(max(stamps, default=made.st_ctime), UTC)

    @property
    def in_use(self) -> bool:
        """Whether another process, or this one, has it."""
        with if_free(*self.shared_locks, *self.own_locks) as free:
            return not free

    def remove(self) -> str:
        """Remove it and its locks; return "", or why it is still there."""
        discarded = self.path.with_name(f"{_PRUNED}{self.path.name.removeprefix(_PRUNED)}")
        try:
            with if_free(*self.shared_locks, *self.own_locks) as free:
                if not free:
                    return "in use"
                self.path.rename(discarded)
                for lock in self.own_locks:
                    lock.unlink(missing_ok=True)
            if discarded.is_dir() and not discarded.is_symlink():
                shutil.rmtree(discarded)
            else:
                discarded.unlink()
        except OSError as error:
            return f"{error.filename}: {error.strerror}"
        return ""


def entries(root: Path) -> Iterator[Entry]:
    """Yield what lies in the cache ``root``: sources, downloads, builds, packages, and what was left over."""
    yield from _with_lock(root)
    for path in _listed(root / "build"):
        # Before locks had the whole name, theirs was cut at its last dot.
        if lock_of(path).exists() or path.with_suffix(".lock").exists():
            yield _locked(Kind.BUILD, path)
    for path in _listed(root / "packages"):
        if _PACKAGES.fullmatch(path.name):
            yield Entry(Kind.PACKAGES, path, (use_mark_of(path),), (path.parent / ".lock",))
    yield from _left_over(root)


def _with_lock(root: Path) -> Iterator[Entry]:
    for kind in (Kind.SOURCE, Kind.PAHOLE, Kind.BISECT, Kind.PROGRAMS, Kind.CELLS):
        for path in _listed(root / kind):
            if lock_of(path).exists():
                yield _locked(kind if path.is_dir() else Kind.DOWNLOAD, path)


def _left_over(root: Path) -> Iterator[Entry]:
    for folder, patterns in _LEFT_OVER.items():
        for pattern in (*patterns, f"{_PRUNED}*"):
            for path in sorted((root / folder).glob(pattern)):
                yield Entry(Kind.LEFT_OVER, path)


def _listed(folder: Path) -> list[Path]:
    """Return what has a name of its own in ``folder``."""
    if not folder.is_dir():
        return []
    named = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted(path for path in named if path.suffix not in (".lock", ".used"))


def _locked(kind: Kind, path: Path) -> Entry:
    return Entry(kind, path, (lock_of(path), use_mark_of(path)))


def disk_bytes(path: Path) -> int:
    """Return the bytes that a file or a folder takes on the disk; what vanishes meanwhile does not count."""
    files = {(status.st_dev, status.st_ino): status.st_blocks * 512 for status in _statuses(path)}
    return sum(files.values())


def _statuses(path: Path) -> Iterator[os.stat_result]:
    below = (Path(folder, name) for folder, folders, files in os.walk(path) for name in (*folders, *files))
    for one in (path, *below):
        with suppress(OSError):
            yield one.lstat()
