# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kbtf_ci.container import daemon
from kbtf_ci.errors import EngineError
from tests.conftest import unavailable

FAKE = Path(__file__).parents[2] / "support" / "fake_dockerd.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Our daemon's folder in a cache of the test's own, with a fake dockerd first in PATH.

    The cache's path is short: a socket's holds 107 bytes, of which pytest-xdist's tmp_path alone takes 90.
    """
    put_dockerd(tmp_path, f'exec {sys.executable} {FAKE} "$@"', monkeypatch)
    with tempfile.TemporaryDirectory(prefix="kbtf-") as cache:
        monkeypatch.setenv("KBTF_CI_CACHE", cache)
        engine = Path(cache) / "engine"
        yield engine
        with suppress(OSError, ValueError):
            if (left := running(engine)) != os.getpid():  # as one test writes it
                os.kill(left, signal.SIGKILL)


def put_dockerd(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "dockerd"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)


def running(folder: Path) -> int:
    return int((folder / "docker.pid").read_text())


def test_starts_a_daemon_that_answers_on_the_private_socket(folder: Path) -> None:
    engine = daemon.start(())
    assert engine.version == "0-fake"
    assert engine.address.url == f"unix://{folder}/docker.sock"


def test_takes_the_daemon_that_runs_already(folder: Path) -> None:
    daemon.start(())
    first = running(folder)
    daemon.start(())
    assert running(folder) == first


def test_the_daemon_is_no_child_of_this_terminal(folder: Path) -> None:
    daemon.start(())
    assert os.getsid(running(folder)) != os.getsid(0)


def test_starts_again_after_a_kill_that_left_socket_and_pidfile(folder: Path) -> None:
    daemon.start(())
    first = running(folder)
    os.kill(first, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(first, 0)
    assert (folder / "docker.sock").exists()
    daemon.start(())
    assert running(folder) != first


def test_starts_though_the_pidfile_names_a_process_that_is_another_one_by_now(folder: Path) -> None:
    folder.mkdir()
    (folder / "docker.pid").write_text(str(os.getpid()))
    containerd = folder / "exec" / "containerd" / "containerd.pid"
    containerd.parent.mkdir(parents=True)
    containerd.write_text(str(os.getpid()))
    daemon.start(())
    assert running(folder) != os.getpid()
    assert not containerd.exists()


@pytest.mark.parametrize("before", [None, 0o755, 0o770])
def test_the_folder_of_its_socket_is_closed_to_all_others(folder: Path, before: int | None) -> None:
    if before is not None:
        folder.mkdir()
        folder.chmod(before)
        assert not daemon.is_private(folder)
    daemon.start(())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_uid == os.geteuid()
    assert daemon.is_private(folder)


def test_a_folder_of_another_user_gets_no_daemon(folder: Path) -> None:
    if os.geteuid() != 0:
        unavailable("root", "only root gives a folder to another user")
    folder.mkdir()
    os.chown(folder, 65534, -1)
    with pytest.raises(EngineError, match="belongs to user 65534"):
        daemon.start(())
    assert not (folder / "docker.pid").exists()


def test_says_why_a_daemon_ended(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_dockerd(tmp_path, "echo starting; echo 'no such storage driver' >&2; exit 3", monkeypatch)
    with pytest.raises(EngineError, match="no such storage driver") as raised:
        daemon.start(())
    assert raised.value.detail.splitlines() == ["starting", "no such storage driver"]


def test_refuses_a_cache_folder_that_is_too_deep_for_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / ("deep" * 30)))
    with pytest.raises(EngineError, match="too long"):
        daemon.start(())


@pytest.mark.parametrize(
    ("comm", "network", "command", "found"),
    [
        ("dockerd", "net:[1]", "dockerd\0--host\0unix:///theirs", "dockerd --host unix:///theirs"),
        ("dockerd", "net:[2]", "dockerd\0--host\0unix:///theirs", ""),
        ("python", "net:[1]", "dockerd\0--host\0unix:///theirs", ""),
        ("dockerd", "net:[1]", "dockerd\0--pidfile\0{ours}/docker.pid", ""),
    ],
    ids=["another one", "another network", "another program", "ours"],
)
def test_finds_another_daemon_on_the_same_network(
    folder: Path, tmp_path: Path, comm: str, network: str, command: str, found: str
) -> None:
    for pid, link in (("self", "net:[1]"), ("42", network)):
        namespaces = tmp_path / "proc" / pid / "ns"
        namespaces.mkdir(parents=True)
        (namespaces / "net").symlink_to(link)
    (tmp_path / "proc" / "42" / "comm").write_text(f"{comm}\n")
    (tmp_path / "proc" / "42" / "cmdline").write_text(command.format(ours=folder))
    assert daemon.elsewhere(tmp_path / "proc") == found
