# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbtf_ci.infra.whole import put_in_place, whole_file


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    with whole_file(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def write_and_fail(path: Path, error: type[BaseException]) -> None:
    with whole_file(path) as file:
        file.write(b"new")
        raise error


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_there_stays_when_writing_ends_early(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error):
        write_and_fail(path, error)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


@pytest.fixture(params=["beside", "another file system"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file that was made, not where it is to be."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if request.param != "beside" else tmp_path) as name:
        path = Path(name) / "made"
        path.write_bytes(b"new")
        if request.param != "beside" and path.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is no other file system here")
        yield path


def test_a_file_takes_the_place_of_another_and_its_attributes(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "folder" / "target"
    target.parent.mkdir()
    target.write_bytes(b"old")
    target.chmod(0o600)
    os.utime(target, (1, 1))
    written = made.stat().st_mtime_ns
    put_in_place(made, target, like_target=True)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert target.stat().st_mtime_ns >= written
    assert not made.exists()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_file_that_cannot_be_put_there_leaves_what_is_there(made: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "in it").mkdir(parents=True)
    with pytest.raises(OSError, match="target"):
        put_in_place(made, target, like_target=False)
    assert made.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
