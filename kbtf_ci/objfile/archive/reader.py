# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An archive's members, as a process of their own reads them through libarchive: see worker.py.

Of that process nothing is believed: a name, a type or a length that it makes up costs no more than an error.
"""

from __future__ import annotations

import ctypes.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Final

from kbtf_ci.errors import InfrastructureError, UsageError, file_error
from kbtf_ci.objfile.archive import worker
from kbtf_ci.objfile.archive.kinds import Kind

# A package's modules are packed, or pack to a fourth of their size; zeros pack to a thousandth.
_TIMES: Final = 100
_AT_LEAST: Final = 64 << 20
_AT_MOST: Final = 16 << 30
_LINE: Final = 1 << 16
_PIECE: Final = 1 << 20
PACKAGE: Final = "libarchive13"  # by this name also where it is libarchive13t64
WAY_OUT: Final = f"run `kbtf-ci setup`, or install it (`apt-get install {PACKAGE}`)"


class MemberType(Enum):
    """What a member is; ``special`` is what no package of a kernel has."""

    FILE = "file"
    LINK = "link"
    HARDLINK = "hardlink"
    SPECIAL = "special"


@dataclass(frozen=True)
class Member:
    """One member by its name in the archive; ``target`` is where a link leads."""

    name: str
    type: MemberType
    target: str


def has_libarchive() -> bool:
    """Return whether libarchive is there, without loading it; LIBARCHIVE names another one."""
    named = os.environ.get("LIBARCHIVE")
    return Path(named).is_file() if named else ctypes.util.find_library("archive") is not None


def bound_of(path: Path) -> int:
    """Return how many bytes the members of the archive may come to before it is held for a bomb."""
    return min(max(path.stat().st_size * _TIMES, _AT_LEAST), _AT_MOST)


@contextmanager
def members(
    path: Path, kind: Kind, pattern: str, *, control: bool = False
) -> Iterator[Iterator[tuple[Member, Iterator[bytes]]]]:
    """Yield the members whose names, without a leading ``./``, match ``pattern`` whole, each with its bytes.

    What is left unread of a member is skipped. Besides these come members of any name that leads out of a
    folder, to be refused. With ``control`` it is what a Debian package says of itself. Iterating raises
    UsageError for what is damaged, no archive or a bomb; InfrastructureError where libarchive is not there.
    """
    try:
        with path.open("rb") as file:
            process = _start(file, kind, pattern, bound_of(path), control=control)
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    with process:
        try:
            yield _Told(path, process).members()
        finally:
            process.kill()


def _start(
    archive: IO[bytes], kind: Kind, pattern: str, most: int, *, control: bool
) -> subprocess.Popen[bytes]:
    # -P: what lies beside worker.py is none of the modules that it imports.
    words = ["-P", worker.__file__, kind.value, pattern, str(most), "control" if control else ""]
    return subprocess.Popen(
        [sys.executable, *words],
        stdin=archive,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


class _Told:
    """What one reader tells, held to the bounds that it is to keep."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self.path = path
        self.process = process
        self._left = bound_of(path)

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        while (values := self._line()) != {"end": True}:
            member = self._member(values)
            self._count(worker.HEADER)
            if member.type in {MemberType.FILE, MemberType.HARDLINK}:
                pieces = self._pieces()
                yield member, pieces
                for _ in pieces:
                    pass
            else:
                yield member, iter(())

    def _line(self) -> dict[str, object]:
        line = self._stream.readline(_LINE)
        if not line.endswith(b"\n"):
            raise self._ended()
        try:
            values = json.loads(line)
        except ValueError:
            raise self._odd() from None
        if not isinstance(values, dict):
            raise self._odd()
        if "lacks" in values:
            raise InfrastructureError(
                f"{self.path}: reading it wants libarchive, which cannot be loaded: {values['lacks']}",
                hint=WAY_OUT,
            )
        if "fault" in values:
            raise self._damaged(str(values["fault"]))
        return values

    def _member(self, values: dict[str, object]) -> Member:
        try:
            return Member(str(values["name"]), MemberType(values["type"]), str(values["target"]))
        except (KeyError, ValueError):
            raise self._odd() from None

    def _pieces(self) -> Iterator[bytes]:
        while size := int.from_bytes(self._bytes(4), "big"):
            if size == worker.BROKEN:
                self._line()
            if size > _PIECE:
                raise self._odd()
            self._count(size)
            yield self._bytes(size)

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise self._odd()

    def _bytes(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise self._ended()
        return data

    @property
    def _stream(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def _damaged(self, words: str) -> UsageError:
        return UsageError(
            f"{self.path}: cannot be unpacked: {words}",
            hint="it is cut short or damaged, or no package of a kernel: get it again",
        )

    def _odd(self) -> UsageError:
        return self._damaged("its reader went astray over it")

    def _ended(self) -> UsageError:
        code = self.process.wait()
        if code == -signal.SIGXCPU:
            return self._damaged("it takes longer than any package does")
        why = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return self._damaged(f"its reader ended over it ({why})")
