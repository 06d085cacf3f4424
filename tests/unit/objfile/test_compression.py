# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import os
import random
import re
import tracemalloc
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.compression import LZO, decompress, format_of, load, unpack
from tests.support.images import PACKERS, lz4_legacy

TEXT = random.Random(1).randbytes(70_000) + b"the same line again\n" * 20_000
EVERY = pytest.mark.parametrize("kind", PACKERS)


@EVERY
def test_what_was_packed_comes_back(kind: str) -> None:
    assert unpack(PACKERS[kind](TEXT), "x", len(TEXT)) == TEXT


@EVERY
def test_nothing_packed_comes_back_as_nothing(kind: str) -> None:
    if kind != "lz4-legacy":  # a magic with no block is a file cut short
        assert unpack(PACKERS[kind](b""), "x", 0) == b""


@EVERY
def test_what_follows_the_stream_is_passed_over(kind: str) -> None:
    packed = PACKERS[kind](TEXT)
    assert unpack(packed + len(TEXT).to_bytes(4, "little"), "x", len(TEXT)) == TEXT
    assert unpack(packed + bytes(100), "x", len(TEXT)) == TEXT
    assert unpack(packed + b"\x10\0\0\0" + b"\xff" * 100, "x", len(TEXT)) == TEXT


@EVERY
def test_one_byte_too_many_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=r"x.ko: unpacks to more than 0 MiB"):
        unpack(PACKERS[kind](TEXT), "x.ko", len(TEXT) - 1)


@EVERY
def test_a_stream_cut_anywhere_is_refused(kind: str) -> None:
    packed = PACKERS[kind](b"a short text, a short text")
    form = format_of(packed)
    assert form
    for length in range(len(packed)):
        with pytest.raises(UsageError, match=r"x.ko: cannot be unpacked as "):
            decompress(packed[:length], form, "x.ko", 1 << 20)


@EVERY
def test_a_broken_stream_is_an_error_of_ours_or_other_bytes(kind: str) -> None:
    packed = PACKERS[kind](b"a short text, a short text" * 20)
    form = format_of(packed)
    assert form
    rng, lines = random.Random(2), []
    for position in range(len(form.magic), len(packed)):
        changed = bytearray(packed)
        changed[position] ^= rng.randrange(1, 256)
        try:
            decompress(bytes(changed), form, "x.ko", 1 << 20)
        except UsageError as error:
            lines.append(error.message)
    assert lines or kind == "lz4-legacy"  # the one without a checksum
    assert all(re.fullmatch(r"x\.ko: .+", line) for line in lines)


@EVERY
def test_a_bomb_is_stopped_before_it_fills_the_memory(kind: str) -> None:
    bomb = PACKERS[kind](bytes(72 << 20))
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="more than 8 MiB"):
            unpack(bomb, "x", 8 << 20)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_the_kernels_lz4_frame_holds_many_blocks() -> None:
    text = random.Random(4).randbytes(1 << 20) * 16
    for size in ((8 << 20) - 1, 8 << 20, (8 << 20) + 1, 16 << 20):
        packed = lz4_legacy(text[:size])
        assert unpack(packed, "x", 1 << 30) == text[:size]
        assert unpack(packed + size.to_bytes(4, "little"), "x", 1 << 30) == text[:size]
        assert unpack(packed + bytes(100), "x", 1 << 30) == text[:size]
        assert unpack(packed + b"\xff" * 100, "x", 1 << 30) == text[:size]


def test_a_later_lz4_block_that_is_broken_is_refused() -> None:
    packed = bytearray(lz4_legacy(bytes(9 << 20)))
    packed[-20:] = b"\xff" * 20
    with pytest.raises(UsageError, match="cannot be unpacked as lz4"):
        unpack(bytes(packed), "x", 1 << 30)


def test_an_xz_dictionary_beyond_reason_is_refused() -> None:
    packed = bytearray(PACKERS["lzma"](TEXT))
    form = format_of(bytes(packed))
    assert form
    packed[1:5] = b"\xff\xff\xff\xff"
    # 4 GiB of dictionary: told by the decoder's own magic check or by its limit, never allocated.
    with pytest.raises(UsageError, match="cannot be unpacked as lzma"):
        decompress(bytes(packed), form, "x", 1 << 30)


def test_lzo_is_named() -> None:
    with pytest.raises(UsageError, match=r"vmlinux.lzo: cannot be unpacked as lzo: LZO is not supported"):
        unpack(LZO.magic + bytes(100), "vmlinux.lzo", 1 << 20)


def test_bytes_of_no_known_compression_stay_as_they_are() -> None:
    assert unpack(b"\x7fELF", "x", 0) == b"\x7fELF"
    assert unpack(b"", "x", 0) == b""


def test_a_file_is_loaded_and_unpacked(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"abc")
    (tmp_path / "packed").write_bytes(PACKERS["xz"](b"abc"))
    (tmp_path / "empty").write_bytes(b"")
    loaded = [load(tmp_path / name, 3)[:] for name in ("plain", "packed", "empty")]
    assert loaded == [b"abc", b"abc", b""]


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path, "not a regular file"),
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path / "none", "No such file or directory"),
        (tmp_path / "plain" / "x", "No such file or directory"),
        (Path("/dev/zero"), "not a regular file"),
        (tmp_path / "a\0b", "null"),
    ):
        with pytest.raises(UsageError, match=rf"cannot be read: .*{why}"):
            load(path, 1)


def test_a_file_that_cannot_be_mapped_is_read() -> None:
    assert load(Path("/proc/version"), 1 << 20)[:].startswith(b"Linux version")
