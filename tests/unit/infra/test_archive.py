# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Archives of known files: the same bytes of the same content, and nothing taken on trust of others'."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.archive import read_archive, write_archive

MEMBERS = {"b": b"\0" * 5000, "a": b"text\n"}
KNOWN = ("a", "b")


def entry(name: str, data: bytes = b"", **values: object) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.size = len(data)
    for key, value in values.items():
        setattr(made, key, value)
    return made, data


def packed(path: Path, entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return path


def refusal(path: Path, limit: int = 1 << 20) -> str:
    with pytest.raises(UsageError) as caught:
        read_archive(path, KNOWN, limit)
    assert str(path) in caught.value.message
    return caught.value.message


def test_what_is_written_is_read_and_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.tar.gz", tmp_path / "elsewhere" / "other.tar.gz"
    for path in (first, second):
        write_archive(path, "folder", MEMBERS, {"a"})
    assert first.read_bytes() == second.read_bytes()
    assert read_archive(first, KNOWN, 1 << 20) == MEMBERS
    with tarfile.open(first) as archive:
        assert [(one.name, one.mode) for one in archive] == [("folder/b", 0o644), ("folder/a", 0o755)]
        owners = {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in archive.getmembers()}
    assert owners == {(0, 0, "", "", 0)}
    assert b"first" not in first.read_bytes()


@pytest.mark.parametrize(
    "hostile",
    [
        entry("folder/c"),
        entry("folder/../a"),
        entry("../a"),
        entry("/a"),
        entry("a"),
        entry("other/b"),
        entry("folder/a", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("folder/a", type=tarfile.LNKTYPE, linkname="folder/b"),
        entry("folder/a", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        entry("folder/a", type=tarfile.FIFOTYPE),
        entry("folder/a", type=tarfile.DIRTYPE),
    ],
    ids=lambda one: f"{one[0].type.decode()}-{one[0].name}",
)
def test_an_entry_that_is_none_of_the_known_files_is_refused(
    tmp_path: Path, hostile: tuple[tarfile.TarInfo, bytes]
) -> None:
    path = packed(tmp_path / "x.tar.gz", [entry("folder/b"), hostile])
    assert "is none of a bundle's files" in refusal(path)
    assert [one.name for one in tmp_path.iterdir()] == ["x.tar.gz"]


def test_a_file_twice_one_that_is_missing_and_too_many_bytes_are_refused(tmp_path: Path) -> None:
    twice = packed(tmp_path / "twice.tar.gz", [entry("f/a", b"1"), entry("f/a", b"2")])
    assert "is none of a bundle's files" in refusal(twice)
    assert "it lacks b" in refusal(packed(tmp_path / "one.tar.gz", [entry("f/a")]))
    bomb = packed(tmp_path / "bomb.tar.gz", [entry("f/a", bytes(1 << 20)), entry("f/b", bytes(1 << 20))])
    assert bomb.stat().st_size < 10_000
    assert "too large when unpacked" in refusal(bomb, (1 << 20) + 1)
    assert len(read_archive(bomb, KNOWN, 1 << 21)) == 2


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage" * 1000, gzip.compress(b"garbage" * 1000), gzip.compress(bytes(1 << 16))[:40]],
    ids=["empty", "garbage", "packed garbage", "cut"],
)
def test_what_is_no_archive_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(data)
    refusal(path)


def test_an_archive_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    write_archive(path, "folder", {"a": bytes(range(256)) * 40, "b": b"x"}, ())
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refusal(path)


def test_what_cannot_be_written_or_read_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write_archive(tmp_path / "file" / "x.tar.gz", "f", MEMBERS, ())
    assert "cannot be read" in refusal(tmp_path / "nowhere")
