# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Locks between real processes: who waits for whom, and what is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.locks import exclusive, if_free, lock_of, use_mark_of

_LONG_AGO = 1_000_000_000
_IMPORTS = "import sys; from pathlib import Path; from kbtf_ci.infra.locks import *; p = Path(sys.argv[1])\n"


@contextmanager
def other_process(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process that runs ``code``, has said that it holds ``path``, and ends when its input does."""
    with subprocess.Popen(
        [sys.executable, "-c", f"{_IMPORTS}{code}", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


HOLD = "with exclusive(p): print('held', flush=True); sys.stdin.read()"
USE = "keep_in_use(p); print('held', flush=True); sys.stdin.read()"


@pytest.mark.parametrize("name", ["config-6.12.107+deb13-amd64", "config-6.12.108+deb13-amd64", "a"])
def test_a_folders_lock_has_all_of_its_name(tmp_path: Path, name: str) -> None:
    assert lock_of(tmp_path / name) == tmp_path / f"{name}.lock"
    assert use_mark_of(tmp_path / name) == tmp_path / f"{name}.used"


def test_what_another_process_holds_is_not_free(tmp_path: Path) -> None:
    lock, free = tmp_path / "x.lock", tmp_path / "y.lock"
    with other_process(HOLD, lock) as other, if_free(free, lock) as got:
        assert not got
        other.communicate()
    with if_free(free, lock) as got:
        assert got


def test_several_processes_use_a_folder_and_none_of_them_frees_it(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    with other_process(USE, folder) as one:
        with other_process(USE, folder) as two, if_free(use_mark_of(folder)) as got:
            assert not got
            two.communicate()
        with if_free(use_mark_of(folder)) as got:
            assert not got
        one.communicate()
    with if_free(use_mark_of(folder)) as got:
        assert got


def test_what_was_looked_at_is_free_again(tmp_path: Path) -> None:
    for _ in range(2):
        with if_free(tmp_path / "a", tmp_path / "b") as got:
            assert got


def test_locking_and_using_are_dated(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    for file in (lock_of(folder), use_mark_of(folder)):
        file.touch()
        os.utime(file, (_LONG_AGO, _LONG_AGO))
    with if_free(lock_of(folder), use_mark_of(folder)):
        pass
    assert lock_of(folder).stat().st_mtime == _LONG_AGO
    with exclusive(lock_of(folder)), other_process(USE, folder) as other:
        other.communicate()
    assert lock_of(folder).stat().st_mtime > _LONG_AGO
    assert use_mark_of(folder).stat().st_mtime > _LONG_AGO


def test_a_lock_removed_by_its_holder_is_not_shared_with_who_waited_for_it(tmp_path: Path) -> None:
    lock, order = tmp_path / "x.lock", []
    waiting = threading.Event()

    def wait_for_it() -> None:
        with exclusive(lock, waiting.set):
            order.append("second")
            with if_free(lock) as got:
                order.append("free" if got else "held")

    with exclusive(lock):
        thread = threading.Thread(target=wait_for_it)
        thread.start()
        assert waiting.wait(60)
        lock.unlink()
        order.append("first")
    thread.join(60)
    assert order == ["first", "second", "held"]


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InfrastructureError, match=r"file/x\.lock: cannot be locked"),
        exclusive(tmp_path / "file" / "x.lock"),
    ):
        pass
