# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What an initramfs holds, as the kernel reads it.

Documentation/driver-api/early-userspace/buffer-format.rst: archives of cpio's newc format, one behind the
other, each packed or not, with zeros between them. The first is often plain and holds microcode alone. This
is plain Python: libarchive ends with the first archive, and the format is a page long.
"""

from __future__ import annotations

import bz2
import io
import lzma
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import lz4.block
import lz4.frame
import zstandard

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.objfile.archive.reader import Member, MemberType
from kbtf_ci.objfile.compression import Format, decompress, format_of

_MAGIC: Final = (b"070701", b"070702")
_HEADER: Final = 110
_TRAILER: Final = "TRAILER!!!"
# It is unpacked in the memory of the machine that boots it, and here.
_LIMIT: Final = 2 << 30
# So little at a time, because zstandard and others unpack at once whatever they are given.
_STEP: Final = 1 << 10
_WAY_OUT: Final = "name what the boot loader loads beside the kernel: initrd.img-*, initramfs-*.img"


class _Stream(Protocol):
    """What all these decompressors agree on."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_STREAMS: Final[dict[str, Callable[[], _Stream]]] = {
    "gzip": lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS),
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, 1 << 29),
    "lzma": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE, 1 << 29),
    "bzip2": bz2.BZ2Decompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(),
}
_ERRORS: Final = (
    zlib.error, lzma.LZMAError, zstandard.ZstdError, RuntimeError, OSError, EOFError, ValueError, MemoryError
)  # fmt: skip


def initramfs_members(path: Path) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Yield each file and link of the initramfs, with its bytes; a name may come again, the later one counts.

    Raises UsageError for a file that is none, is damaged, or unpacks to more than 2 GiB.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    for archive in _archives(path, data):
        yield from _Archive(path, archive).members()


def _archives(path: Path, data: bytes, *, packed: bool = False) -> Iterator[memoryview]:
    """Yield the file's archives, unpacked, each up to the end of the data that it begins."""
    at, total, view = 0, 0, memoryview(data)
    while (at := _behind_zeros(data, at)) < len(data):
        form = format_of(data[at : at + 16])
        if data[at : at + 6] in _MAGIC:
            yield view[at:]
            at = _Archive(path, view[at:]).end() + at
        elif form is None or packed:
            raise UsageError(f"{path}: no initramfs: at byte {at} is no cpio archive", hint=_WAY_OUT)
        else:
            content, used = _first_stream(path, view[at:], form)
            total += len(content)
            if total > _LIMIT:
                raise UsageError(f"{path}: unpacks to more than {_LIMIT >> 20} MiB")
            yield from _archives(path, content, packed=True)
            at += used


def _behind_zeros(data: bytes, at: int) -> int:
    while at < len(data):
        piece = data[at : at + 4096]
        if left := len(piece.lstrip(b"\0")):
            return at + len(piece) - left
        at += len(piece)
    return at


def _first_stream(path: Path, data: memoryview, form: Format) -> tuple[bytes, int]:
    """Return what the packed stream at the start of ``data`` holds, and where it ends."""
    if form.name not in _STREAMS:  # LZ4's legacy frame has no end of its own
        return decompress(data, form, str(path), _LIMIT), len(data)
    stream, output = _STREAMS[form.name](), io.BytesIO()
    try:
        for start in range(0, len(data), _STEP):
            piece = bytes(data[start : start + _STEP])
            output.write(stream.decompress(piece))
            if output.tell() > _LIMIT:
                raise UsageError(f"{path}: unpacks to more than {_LIMIT >> 20} MiB")
            if stream.eof:
                return output.getvalue(), start + len(piece) - len(stream.unused_data or b"")
        raise EOFError("it ends in the middle")
    except _ERRORS as error:
        raise UsageError(f"{path}: cannot be unpacked as {form.name}: {error}", hint=_WAY_OUT) from error


class _Archive:
    """One cpio archive at the start of ``data``."""

    def __init__(self, path: Path, data: memoryview) -> None:
        self._path = path
        self._data = data

    def end(self) -> int:
        """Return where the archive ends."""
        return [end for _, _, end in self._entries()][-1]

    def members(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Yield files and links; several names of one file are hard links, the last of which has it."""
        first: dict[tuple[bytes, ...], str] = {}
        for name, header, end in self._entries():
            mode, size, inode = _field(header, 1), _field(header, 6), _same_file(header)
            start = end - size - (-size % 4)
            content = bytes(self._data[start : start + size])
            if stat.S_ISLNK(mode):
                yield Member(name, MemberType.LINK, content.decode(errors="surrogateescape")), iter(())
            elif stat.S_ISREG(mode) and inode in first:
                yield Member(name, MemberType.HARDLINK, first[inode]), iter([content])
            elif stat.S_ISREG(mode):
                if _field(header, 4) > 1:
                    first[inode] = name
                yield Member(name, MemberType.FILE, ""), iter([content])

    def _entries(self) -> Iterator[tuple[str, bytes, int]]:
        """Yield name, header and end of each entry; that of the last is where the archive ends."""
        at = 0
        while True:
            header = bytes(self._data[at : at + _HEADER])
            if len(header) < _HEADER or header[:6] not in _MAGIC:
                raise self._damaged()
            name_end = at + _HEADER + _field(header, 11)
            name = bytes(self._data[at + _HEADER : name_end]).rstrip(b"\0")
            start = name_end + -name_end % 4
            end = start + _field(header, 6)
            if end > len(self._data):
                raise self._damaged()
            at = end + -end % 4
            if name == _TRAILER.encode():
                yield "", bytes(header), at
                return
            # The kernel unpacks below its root, whether a name says so or not.
            yield name.decode(errors="surrogateescape").lstrip("/"), header, at

    def _damaged(self) -> UsageError:
        return UsageError(f"{self._path}: an initramfs that is cut short or damaged", hint=_WAY_OUT)


def _field(header: bytes, number: int) -> int:
    """Return a number behind the magic.

    They are inode, mode, uid, gid, links, mtime, size, device, rdev (two each), length of the name, checksum.
    """
    try:
        return int(header[6 + number * 8 : 14 + number * 8], 16)
    except ValueError:
        return 0


def _same_file(header: bytes) -> tuple[bytes, ...]:
    """Return what two names of one file agree in: inode and device."""
    return header[6:14], header[62:70], header[70:78]
