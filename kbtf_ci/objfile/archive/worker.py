# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs as a process of its own: what libarchive makes of an archive, handed on member by member.

    python3 -P worker.py KIND PATTERN BYTES CONTROL < ARCHIVE

libarchive is C, and the archive anybody's. So this process opens nothing but what it is started with: before
the archive's first byte is read it gives up files to open, to write, processes to start, and memory and time
without end. Whoever reads its output believes none of it.

For each member whose name matches PATTERN, or would lead out of any folder, a line of JSON is written: name,
type (file, link, hardlink, special) and target. The bytes of a file follow in pieces, behind the length of
each in four bytes; a length of 0 ends them, and BROKEN where the archive is. The last line has ``end``, or
``fault`` and what is wrong, or ``lacks`` where libarchive cannot be loaded. BYTES is how much all members may
come to. CONTROL is ``control`` where of a Debian package not the files are meant but what it says of itself.
Only the standard library and libarchive-c are imported.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

BROKEN: Final = 0xFFFFFFFF
HEADER: Final = 1 << 12  # what a member costs that has no content: a block of a disk

_PIECE: Final = 1 << 16
_INPUT: Final = 1 << 18
_MEMORY: Final = 1 << 30  # zstd --ultra -22 has a window of 128 MiB, xz -9 a dictionary of 64
_CPU_S: Final = 900
_FILTERS: Final = ("gzip", "bzip2", "xz", "lzma", "zstd", "lz4")
_AR_HEADER: Final = 60
_AR_MAGIC: Final = b"!<arch>\n"


class RefusedError(Exception):
    """What is wrong with the archive, in words."""


class Part:
    """Some bytes of standard input, from where it stands."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer`` with what comes next, and return how much that is."""
        got = os.readv(0, [buffer[: min(len(buffer), self._left)]])
        self._left -= got
        return got


def main(kind: str, pattern: str, most: int, *, control: bool) -> None:
    """Tell the members of the archive on standard input."""
    try:
        from libarchive import ffi, read  # noqa: PLC0415 - its absence has an answer
        from libarchive.exception import ArchiveError  # noqa: PLC0415
    except (ImportError, OSError, AttributeError) as error:
        _tell(lacks=str(error))
        return
    try:
        part = _part(kind, control=control)
        with _opened(ffi, kind, part) as archive:
            _members(read.ArchiveRead(archive), re.compile(pattern), most)
    except (RefusedError, ArchiveError, MemoryError) as error:
        words = "it wants more than 1 GiB of memory" if isinstance(error, MemoryError) else str(error)
        _tell(fault=" ".join(words.split()))
    else:
        _tell(end=True)


def confine() -> None:
    """Give up all that reading from one open file and writing to another does not need."""
    for limit, value in (
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, _MEMORY),
    ):
        resource.setrlimit(limit, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S + 10))  # SIGXCPU, and SIGKILL for who ignores it


def _part(kind: str, *, control: bool) -> Part:
    """Return what libarchive is given: all of it, or of a Debian package (deb(5)) one member."""
    if kind != "deb":
        return Part(os.fstat(0).st_size)
    wanted = b"control.tar" if control else b"data.tar"
    if os.read(0, len(_AR_MAGIC)) != _AR_MAGIC:
        raise RefusedError("not an archive of ar(1)")
    while len(header := os.read(0, _AR_HEADER)) == _AR_HEADER:
        text = header[48:58].strip()
        if not text.isdigit() or header[58:] != b"`\n":
            raise RefusedError("not an archive of ar(1), or damaged")
        size = int(text)
        if header.startswith(wanted):
            return Part(size)
        os.lseek(0, size + size % 2, os.SEEK_CUR)
    raise RefusedError(f"has no {wanted.decode()}: it is no Debian package, or cut short")


@contextmanager
def _opened(ffi: Any, kind: str, part: Part) -> Iterator[Any]:
    """Yield libarchive's handle, which knows no format and no compression but those of packages."""
    buffer = ctypes.create_string_buffer(_INPUT)
    view = memoryview(buffer).cast("B")
    address = ctypes.cast(buffer, ctypes.c_void_p)

    def read(_archive: Any, _context: Any, pointer: Any) -> int:
        ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[0] = address
        return part.readinto(view)

    callback = ffi.READ_CALLBACK(read)
    handle = ffi.read_new()
    try:
        for name in (*_FILTERS, *(("rpm",) if kind == "rpm" else ())):
            ffi.get_read_filter_function(name)(handle)
        ffi.get_read_format_function("cpio" if kind == "rpm" else "tar")(handle)
        # An rpm without a file has no cpio archive in it that would be told as such.
        ffi.get_read_format_function("empty")(handle)
        confine()
        ffi.read_open(handle, None, ffi.NO_OPEN_CB, callback, ffi.NO_CLOSE_CB)
        yield handle
    finally:
        ffi.read_free(handle)


def _members(archive: Any, pattern: re.Pattern[str], most: int) -> None:
    total = 0
    for entry in archive:
        total += HEADER + (entry.size or 0)
        if total > most:
            raise RefusedError(f"holds more than {most >> 20} MiB, which is far more than its own size")
        name = _text(entry.pathname)
        if leads_out(name):
            _tell(name=name, type="special", target="")
        elif pattern.fullmatch(re.sub(r"^(\./+)+", "", name)) and not entry.isdir:
            _member(entry, name)


def leads_out(name: str) -> bool:
    """Return whether a member's name leads out of the folder that it is unpacked in."""
    return name.startswith("/") or ".." in name.split("/")


def _member(entry: Any, name: str) -> None:
    target = _text(entry.linkpath or "")
    kind = "hardlink" if entry.islnk else "link" if entry.issym else "file" if entry.isreg else "special"
    _tell(name=name, type=kind, target=target)
    if kind not in {"file", "hardlink"}:
        return
    end = BROKEN
    try:
        for piece in entry.get_blocks(_PIECE):
            _write(len(piece).to_bytes(4, "big"))
            _write(piece)
        end = 0
    finally:
        _write(end.to_bytes(4, "big"))


def _text(name: str | bytes | None) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else name or ""


def _tell(**values: object) -> None:
    _write(json.dumps(values).encode() + b"\n")


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), control=sys.argv[4] == "control")
    sys.stdout.buffer.flush()
