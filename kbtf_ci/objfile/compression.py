# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A file's bytes, unpacked where they are compressed, never past a bound.

Formats are told by their magic, as lib/decompress.c and scripts/extract-vmlinux tell them. The first stream
counts alone: what follows it is passed over (the size that kbuild appends to a bzImage's payload, say).
"""

from __future__ import annotations

import bz2
import io
import lzma
import mmap
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import lz4.block
import lz4.frame
import zstandard

from kbtf_ci.errors import UsageError, file_error

Buffer = bytes | mmap.mmap

_OUTPUT = 1 << 20  # bytes asked of a decompressor at a time
_INPUT = 1 << 16
_FIRST_INPUT = 1 << 6  # who only looks at the beginning of a stream shall not pay for more
# zstandard's streaming object takes no bound; a run-length block makes 128 KiB of 4 bytes.
_ZSTD_INPUT = 1 << 10
_ZSTD_WINDOW = 1 << 27  # zstd --ultra -22, kbuild's choice for a kernel
_LZMA_MEMORY = 1 << 29  # four times the largest dictionary of scripts/xz_wrap.sh
_LZ4_BLOCK = 8 << 20  # LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE of lib/decompress_unlz4.c

_LZ4_PACKED_BLOCK = _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16  # LZ4_compressBound()


class _Decompressor(Protocol):
    """What lzma, bz2 and lz4.frame agree on."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: memoryview, max_length: int, /) -> bytes: ...


class _Gzip:
    """zlib's streaming object with the others' interface."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def decompress(self, data: memoryview, max_length: int, /) -> bytes:
        output = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = not self._stream.unconsumed_tail and len(output) < max_length
        return output


class _Zstd:
    """zstandard's streaming object with the others' interface; its output has no bound but the input's."""

    needs_input = True

    def __init__(self) -> None:
        self._stream = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return self._stream.eof

    def decompress(self, data: memoryview, _max_length: int, /) -> bytes:
        return self._stream.decompress(data)


def _stream(make: Callable[[], _Decompressor], step: int, data: memoryview) -> Iterator[bytes]:
    decompressor = make()
    start, size = 0, _FIRST_INPUT
    while start < len(data):
        yield decompressor.decompress(data[start : start + size], _OUTPUT)
        while not (decompressor.eof or decompressor.needs_input):
            yield decompressor.decompress(data[:0], _OUTPUT)
        if decompressor.eof:
            return
        start, size = start + size, min(2 * size, step)
    raise EOFError("it ends in the middle")


def _lz4_legacy(data: memoryview) -> Iterator[bytes]:
    """Unpack what ``lz4 -l`` writes: a magic, then blocks behind a u32 size each, all but the last full."""
    start = 4
    while start == 4 or _lz4_block_follows(data[start : start + 5]):
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        if end > len(data):
            raise EOFError("it ends in the middle")
        block = lz4.block.decompress(data[start + 4 : end], uncompressed_size=_LZ4_BLOCK)
        yield block
        if len(block) < _LZ4_BLOCK:
            return
        start = end


def _lz4_block_follows(head: memoryview) -> bool:
    """Tell a block's size from the uncompressed size that kbuild appends, and from what else comes behind."""
    return len(head) == 5 and 0 < int.from_bytes(head[:4], "little") <= _LZ4_PACKED_BLOCK


def _lzo(_data: memoryview) -> Iterator[bytes]:
    raise ValueError("LZO is not supported")


@dataclass(frozen=True)
class Format:
    """A compression: its name, the bytes it starts with, and how a stream of it is unpacked in pieces."""

    name: str
    magic: bytes
    unpack: Callable[[memoryview], Iterator[bytes]]


GZIP = Format("gzip", b"\x1f\x8b\x08", partial(_stream, _Gzip, _INPUT))
LZO = Format("lzo", b"\x89LZO\0\r\n\x1a\n", _lzo)
FORMATS = (
    GZIP,
    Format(
        "xz",
        b"\xfd7zXZ\0",
        partial(_stream, partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, _LZMA_MEMORY), _INPUT),
    ),
    Format("bzip2", b"BZh", partial(_stream, bz2.BZ2Decompressor, _INPUT)),
    Format(
        "lzma",
        b"\x5d\0\0",
        partial(_stream, partial(lzma.LZMADecompressor, lzma.FORMAT_ALONE, _LZMA_MEMORY), _INPUT),
    ),
    LZO,
    Format("lz4 (legacy frame)", b"\x02\x21\x4c\x18", _lz4_legacy),
    Format("lz4", b"\x04\x22\x4d\x18", partial(_stream, lz4.frame.LZ4FrameDecompressor, _INPUT)),
    Format("zstd", b"\x28\xb5\x2f\xfd", partial(_stream, _Zstd, _ZSTD_INPUT)),
)

_ERRORS = (
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    lz4.block.LZ4BlockError,
    RuntimeError,  # lz4.frame
    OSError,  # bz2
    EOFError,
    ValueError,
    MemoryError,
)


def format_of(data: Buffer) -> Format | None:
    """Return the compression that ``data`` starts with, None where it starts with none."""
    head = data[:16]
    return next((form for form in FORMATS if head.startswith(form.magic)), None)


def first_bytes(data: memoryview, form: Format, count: int) -> bytes:
    """Return ``count`` bytes or more of what ``form`` makes of ``data``, fewer where it ends before."""
    found = bytearray()
    with suppress(*_ERRORS):
        for piece in form.unpack(data):
            found += piece
            if len(found) >= count:
                break
    return bytes(found)


def decompress(data: Buffer | memoryview, form: Format, name: str, limit: int) -> bytes:
    """Return what ``form`` makes of ``data``, at most ``limit`` bytes; ``name`` is for messages.

    Raises UsageError when there is more than that, when the stream is broken or cut short, and for LZO.
    """
    output = io.BytesIO()
    try:
        for piece in form.unpack(memoryview(data)):
            if output.tell() + len(piece) > limit:
                raise UsageError(f"{name}: unpacks to more than {limit >> 20} MiB")
            output.write(piece)
    except _ERRORS as error:
        raise UsageError(
            f"{name}: cannot be unpacked as {form.name}: {error}",
            hint="unpack it with the tool that packed it and name the result",
        ) from error
    return output.getvalue()


def begin(data: memoryview, form: Format, limit: int) -> tuple[bytes, str]:
    """Return what ``form`` makes of ``data`` until it fails or ``limit`` bytes are made, and why it ended so.

    "" where it did not: then all of it is there.
    """
    output = io.BytesIO()
    try:
        for piece in form.unpack(data):
            output.write(piece)
            if output.tell() > limit:
                return output.getvalue()[:limit], f"it unpacks to more than {limit >> 20} MiB"
    except _ERRORS as error:
        return output.getvalue(), str(error)
    return output.getvalue(), ""


def unpack(data: Buffer, name: str, limit: int) -> Buffer:
    """Return ``data`` itself, or where it is compressed what decompress() makes of it."""
    form = format_of(data)
    return data if form is None else decompress(data, form, name, limit)


def load(path: Path, limit: int) -> Buffer:
    """Return the file's bytes, mapped, or unpacked to at most ``limit`` bytes where they are compressed.

    Raises UsageError when it cannot be read, and as decompress().
    """
    try:
        data = _content(path)
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    except ValueError as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    return unpack(data, str(path), limit)


def _content(path: Path) -> Buffer:
    if not stat.S_ISREG(path.stat().st_mode):  # opening a FIFO would wait for its writer
        raise ValueError("not a regular file")
    with path.open("rb") as stream:
        try:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # sysfs before 6.16 maps nothing, and nobody maps an empty file
            return stream.read()
