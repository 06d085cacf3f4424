# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The tests' own cache takes from the user's, and gives nothing back."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from kbtf_ci.container.places import own_socket
from kbtf_ci.infra.locks import exclusive
from kbtf_ci.infra.paths import cache_root
from tests.support.cache import OwnCache, own_cache

BUILD = "trixie-0123-smoke-trixie"


@pytest.fixture
def users(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    (cache / "source/trixie-0123/fs").mkdir(parents=True)
    (cache / "source/trixie-0123.lock").touch()
    (cache / "source/.unpack-half").mkdir()
    (cache / "ccache/0").mkdir(parents=True)
    (cache / "ccache/0/entry").write_text("object")
    for number, name in enumerate(("old-smoke-trixie", BUILD, "new-smoke-trixie", "x-defconfig-trixie")):
        build(cache / "build" / name, number)
    (cache / "build/new-smoke-trixie/modules.order").unlink()
    return cache


def build(folder: Path, second: int) -> None:
    folder.mkdir(parents=True)
    for name in ("vmlinux", "modules.order", "ext2.ko"):
        (folder / name).write_text(folder.name)
        os.utime(folder / name, ns=(second, second))


def content(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files if path.suffix != ".lock"}


def test_every_test_has_the_sessions_cache_and_not_the_users(own: OwnCache) -> None:
    assert cache_root() == own.folder
    assert own_socket().parent.parent == own.folder


def test_what_a_test_does_to_its_cache_does_not_reach_the_users(users: Path) -> None:
    before = content(users / "build") | content(users / "ccache")
    with own_cache(users) as own:
        own.seed()
        module = own.folder / "build" / BUILD / "ext2.ko"
        assert module.stat().st_mtime_ns == 1
        with module.open("a") as file:
            file.write("spoilt")
        module.with_name("vmlinux").unlink()
        assert (own.folder / "source/trixie-0123/fs").is_dir()
        assert [path.name for path in (own.folder / "source").iterdir()] == ["trixie-0123"]
    assert content(users / "build") | content(users / "ccache") == before
    assert (users / "source/trixie-0123/fs").is_dir()
    assert list(users.glob("tests-*")) == []


def test_the_newest_finished_build_alone_is_copied(users: Path) -> None:
    with own_cache(users) as own:
        own.seed()
        assert [path.name for path in (own.folder / "build").iterdir()] == [BUILD]
        assert not (own.folder / "ccache").exists()


def test_without_a_build_the_compilers_cache_is_copied(users: Path) -> None:
    for name in (BUILD, "old-smoke-trixie"):
        (users / "build" / name / "vmlinux").unlink()
    with own_cache(users) as own:
        own.seed()
        assert (own.folder / "ccache/0/entry").read_text() == "object"
        (own.folder / "ccache/0/entry").write_text("another")
    assert (users / "ccache/0/entry").read_text() == "object"


def test_an_empty_cache_has_nothing_to_seed_from(tmp_path: Path) -> None:
    with own_cache(tmp_path / "cache") as own:
        own.seed()
        assert [path.name for path in own.folder.iterdir()] == ["in-use.lock"]


def test_the_users_own_engine_is_known(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (users / "engine").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(users / "engine")
        server.bind("docker.sock")
        with own_cache(users) as own:
            assert (own.folder / "engine/docker.sock").is_socket()


def test_what_a_killed_session_left_is_removed_and_what_is_in_use_is_not(users: Path) -> None:
    for name in ("tests-left", "tests-used"):
        (users / name / "build").mkdir(parents=True)
    with exclusive(users / "tests-used/in-use.lock"), own_cache(users):
        assert not (users / "tests-left").exists()
        assert (users / "tests-used/build").is_dir()
