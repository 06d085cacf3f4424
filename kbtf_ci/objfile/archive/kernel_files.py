# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Archives laid out in one folder: of what they hold the files that a kernel consists of, and no others.

Names are the archives'. What a name or a link leads out of the folder with is refused, and so is what is no
file; no link is made but to what lies in the folder. ``usr/lib`` becomes ``lib``, since packages of one
kernel may each have it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from kbtf_ci.errors import InfrastructureError, KbtfError, UsageError, file_error
from kbtf_ci.objfile.archive.initramfs import initramfs_members
from kbtf_ci.objfile.archive.kinds import Kind
from kbtf_ci.objfile.archive.reader import Member, MemberType, members
from kbtf_ci.objfile.archive.worker import leads_out

_MODULE: Final = r"[^/]+\.ko(?:\.(?:xz|zst|gz))?"
_IMAGE: Final = r"(?:vmlinu[xz]|bzImage|zImage|Image|config|System\.map|kernel)[^/]*"
# As packages of Debian, Ubuntu, Fedora, SUSE, Arch and Alpine have them, kbuild's own, and tuxmake's output.
WANTED: Final = "|".join(
    (
        rf"(?:usr/)?lib/modules/[^/]+/(?:.+/)?{_MODULE}",
        rf"(?:usr/)?lib/modules/[^/]+/(?:modules\.[^/]+|{_IMAGE})",
        rf"boot/{_IMAGE}",
        _IMAGE,
        r"\.config",
        r"(?:etc|run|usr/local/lib|usr/lib|lib)/depmod\.d/[^/]+\.conf",
    )
)
_WANTED: Final = re.compile(WANTED)
_LINKS: Final = 40  # as many as the kernel follows


class KernelFiles:
    """A folder that gets what archives hold of a kernel; a later one's file goes before an earlier's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._links: dict[str, str] = {}

    def add(self, path: Path, kind: Kind) -> None:
        """Lay out what the archive at ``path`` holds.

        Raises UsageError for one that is damaged, a bomb, or means harm; InfrastructureError on a full disk.
        """
        with members(path, kind, WANTED) as told:
            self._take_all(path, told)

    def add_initramfs(self, path: Path) -> None:
        """Lay out what the initramfs at ``path`` holds. Raises as ``add``."""
        self._take_all(path, initramfs_members(path))

    def _take_all(self, archive: Path, told: Iterable[tuple[Member, Iterable[bytes]]]) -> None:
        for member, pieces in told:
            name = _inside(archive, member.name, member.name)
            if not _WANTED.fullmatch(name):
                continue
            try:
                self._take(archive, member, name, pieces)
            except OSError as error:
                raise _cannot_be_written(archive, member, error) from error

    def finish(self) -> None:
        """Give every link the file that it leads to, now that all archives are there.

        A module that leads nowhere stays a link that does, for the list of modules to name.
        """
        for name in self._links:
            goal = self._goal(name)
            path = self._folder / name
            if goal is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.hardlink_to(goal)
            elif ".ko" in path.name:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.symlink_to("nowhere")

    def _take(self, archive: Path, member: Member, name: str, pieces: Iterable[bytes]) -> None:
        if member.type is MemberType.SPECIAL:
            raise _refused(archive, f"{member.name!r} is neither a file nor a link")
        self._links.pop(name, None)
        path = self._folder / name
        path.unlink(missing_ok=True)
        if member.type is MemberType.LINK:
            above = "" if member.target.startswith("/") else f"{PurePosixPath(member.name).parent}/"
            self._links[name] = _inside(archive, above + member.target, member.name)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.type is MemberType.HARDLINK:
            self._hard_link(archive, member, path)
        with path.open("r+b" if path.exists() else "xb") as file:
            file.writelines(pieces)

    def _hard_link(self, archive: Path, member: Member, path: Path) -> None:
        """Make ``path`` one file with the member that it names; in cpio the last of them has the content."""
        first = self._folder / _inside(archive, member.target, member.name)
        if not first.is_file():
            raise _refused(archive, f"{member.name!r} is a link to {member.target!r}, which is not before it")
        path.hardlink_to(first)

    def _goal(self, name: str) -> Path | None:
        for _ in range(_LINKS):
            path = self._folder / name
            if name not in self._links:
                return path if path.is_file() and not path.is_symlink() else None
            name = self._links[name]
        return None


def _inside(archive: Path, name: str, member: str) -> str:
    """Return a name as it is below the folder. Raises UsageError where it leads out of it, or is none."""
    if leads_out(member):
        raise _refused(archive, f"{member!r} leads out of it")
    parts: list[str] = []
    for part in name.split("/"):
        if part == ".." and not parts:
            raise _refused(archive, f"{member!r} is a link that leads out of it, to {name!r}")
        if part == "..":
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    if parts[:2] == ["usr", "lib"]:
        del parts[0]
    if "\0" in name:
        raise _refused(archive, f"{member!r} is no name")
    return "/".join(parts)


def _refused(archive: Path, words: str) -> UsageError:
    return UsageError(
        f"{archive}: is not unpacked: {words}",
        hint="no package of a kernel has that: whoever made it may mean harm",
    )


def _cannot_be_written(archive: Path, member: Member, error: OSError) -> KbtfError:
    fault = file_error(error, archive, f"{member.name!r} cannot be written")
    if isinstance(fault, InfrastructureError):
        return InfrastructureError(f"{archive}: cannot be unpacked: {error.strerror}")
    return fault
