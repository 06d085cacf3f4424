# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The tests' own cache takes from the user's, and gives nothing back."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kbtf_ci.container.places import own_socket
from kbtf_ci.infra.locks import exclusive, if_free, lock_of, use_mark_of
from kbtf_ci.infra.paths import cache_root
from tests.support.cache import OwnCache, own_cache

BUILD, OLD = "trixie-0123-smoke-trixie", "trixie-6.12.107-smoke-trixie"
# Seeds a cache in a process of its own, and holds what it has until its input ends.
SESSION = """
import sys
from pathlib import Path
from tests.support.cache import own_cache
with own_cache(Path(sys.argv[1])) as own:
    own.seed()
    print("seeded", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    cache = tmp_path / "cache"
    (cache / "source/trixie-0123/fs").mkdir(parents=True)
    (cache / "source/trixie-0123.lock").touch()
    (cache / "source/.unpack-half").mkdir()
    (cache / "ccache/0").mkdir(parents=True)
    (cache / "ccache/0/entry").write_text("object")
    others = (
        "trixie-x-defconfig-trixie", "trixie-x-smoke-bookworm", "trixie-x-smoke-trixie-0123456789ab",
        "trixie-smoke-x-trixie", "tarball-x-smoke-trixie",
    )  # fmt: skip
    for number, name in enumerate((OLD, BUILD, "trixie-new-smoke-trixie", *others)):
        build(cache / "build" / name, number)
    (cache / "build/trixie-new-smoke-trixie/modules.order").unlink()
    return cache


def build(folder: Path, second: int) -> None:
    folder.mkdir(parents=True)
    for name in ("vmlinux", "modules.order", "ext2.ko"):
        (folder / name).write_text(folder.name)
        os.utime(folder / name, ns=(second, second))


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Let no file of this process and its children grow beyond ``size`` bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def seeded(own: OwnCache) -> set[str]:
    """What the session has of builds, sources and the compiler's cache."""
    return {str(path.relative_to(own.folder)) for path in own.folder.glob("*/*") if path.suffix != ".lock"}


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
    for name in (BUILD, OLD):
        (users / "build" / name / "vmlinux").unlink()
    with own_cache(users) as own:
        own.seed()
        assert (own.folder / "ccache/0/entry").read_text() == "object"
        (own.folder / "ccache/0/entry").write_text("another")
    assert (users / "ccache/0/entry").read_text() == "object"


def test_a_build_that_somebody_is_making_is_left_alone_for_an_older_one(users: Path) -> None:
    with exclusive(lock_of(users / "build" / BUILD)), own_cache(users) as own:
        own.seed()
        assert seeded(own) == {f"build/{OLD}", "source/trixie-0123"}


def test_where_all_builds_are_being_made_the_compilers_cache_is_copied(users: Path) -> None:
    one, two = (lock_of(users / "build" / name) for name in (BUILD, OLD))
    with exclusive(one), exclusive(two), own_cache(users) as own:
        own.seed()
        assert seeded(own) == {"ccache/0", "source/trixie-0123"}


def test_of_a_build_that_does_not_fit_on_the_disk_nothing_is_left(users: Path) -> None:
    (users / "build" / BUILD / "vmlinux").write_bytes(bytes(5000))
    with own_cache(users) as own:
        with limited(4000):
            own.seed()
        assert seeded(own) == {f"build/{OLD}", "source/trixie-0123"}


def test_a_source_that_somebody_is_unpacking_or_removing_is_left_alone(users: Path) -> None:
    with exclusive(lock_of(users / "source/trixie-0123")), own_cache(users) as own:
        own.seed()
        assert seeded(own) == {f"build/{BUILD}"}


def test_a_source_is_in_use_as_long_as_the_session_is_and_a_build_while_it_is_copied(users: Path) -> None:
    source, build = users / "source/trixie-0123", users / "build" / BUILD
    with subprocess.Popen(
        [sys.executable, "-c", SESSION, users], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as session:
        assert session.stdout is not None
        assert session.stdout.readline() == "seeded\n"
        with if_free(lock_of(source), use_mark_of(source)) as free:
            assert not free
        with if_free(lock_of(build), use_mark_of(build)) as free:
            assert free
        session.communicate()
    with if_free(lock_of(source), use_mark_of(source)) as free:
        assert free
    assert (users / "source/trixie-0123/fs").is_dir()


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


def test_a_session_removes_its_cache_while_nobody_sweeps(users: Path) -> None:
    words = [sys.executable, "-c", SESSION, str(users)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        assert session.stdout.readline() == b"seeded\n"
        (folder,) = users.glob("tests-*")
        with exclusive(users / "locks/tests"):
            session.stdin.close()
            with pytest.raises(subprocess.TimeoutExpired):
                session.wait(1)
            assert (folder / "in-use.lock").exists()
        assert session.wait() == 0
    assert not folder.exists()
