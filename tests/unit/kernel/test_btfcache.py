# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A cache of BTF that is looked through while builds are at work in it; tests/contract has its program."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kbtf_ci.kernel.btfcache import clear, survey

KEY = "ab" + "0" * 62


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    folder = tmp_path / "ab"
    folder.mkdir()
    return folder


def entry(key: str, btf: bytes = b"btf", base: bytes = b"") -> bytes:
    """An entry as containers/btfcache.c writes it."""
    parts = b"".join(len(part).to_bytes(8, "little") + part for part in (key.encode(), btf, base))
    sizes = len(btf).to_bytes(8, "little") + len(base).to_bytes(8, "little")
    return b"kbtf-ci BTF 1\n\0\0" + sizes + hashlib.sha256(parts).digest() + btf + base


def test_whole_and_spoilt_entries_are_counted(shard: Path) -> None:
    (shard / KEY).write_bytes(entry(KEY))
    assert (survey(shard.parent).entries, survey(shard.parent).corrupt) == (1, 0)
    (shard / KEY).write_bytes(entry(KEY)[:-1])
    assert (survey(shard.parent).entries, survey(shard.parent).corrupt) == (1, 1)


def test_what_a_build_is_writing_takes_room_and_is_no_entry_yet(shard: Path) -> None:
    (shard / KEY).write_bytes(entry(KEY))
    before = survey(shard.parent)
    (shard / f"{KEY}.a1B2c3").write_bytes(entry(KEY)[:40])
    held = survey(shard.parent)
    assert (held.entries, held.corrupt) == (1, 0)
    assert held.disk_bytes > before.disk_bytes


def test_what_a_build_removes_meanwhile_was_not_there(shard: Path) -> None:
    (shard / KEY).write_bytes(entry(KEY))
    # Listed, and no longer there when it is opened.
    (shard / f"{KEY[:-1]}1").symlink_to("gone")
    assert (survey(shard.parent).entries, survey(shard.parent).corrupt) == (1, 0)


def test_clear_counts_entries_and_leaves_nothing(shard: Path) -> None:
    memo = shard.parent / "base" / ("0" * 64)
    memo.parent.mkdir()
    for file in (shard / KEY, shard / f"{KEY}.a1B2c3", memo):
        file.write_bytes(b"")
    assert clear(shard.parent) == 1
    assert [path for path in shard.parent.rglob("*") if path.is_file()] == []
