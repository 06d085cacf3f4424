# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a clone of our own holds once a commit is checked out in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.history import Clone, History, uncommitted
from tests.support.history import Repository


@pytest.fixture
def tree(tmp_path: Path) -> Repository:
    repository = Repository.make(tmp_path / "tree")
    repository.commit("one", {"Makefile": "1", "same": "x", "gone": "x"})
    (repository.path / "gone").unlink()
    repository.commit("two", {"Makefile": "2"})
    return repository


def shas(tree: Repository) -> list[str]:
    return tree.git("rev-list", "--reverse", "main").split()


def test_a_checkout_holds_the_commits_files_and_no_others(tree: Repository, tmp_path: Path) -> None:
    clone = Clone(History(tree.path, "-C"), tmp_path / "clone")
    one, two = shas(tree)
    clone.check_out(two)
    (clone.path / "left_over.o").touch()
    (clone.path / "Makefile").write_text("changed by a build")
    stamp = (clone.path / "same").stat().st_mtime_ns
    clone.check_out(one)
    files = {path.name: path.read_text() for path in clone.path.iterdir() if path.is_file()}
    assert files == {"Makefile": "1", "same": "x", "gone": "x"}
    assert (clone.path / "same").stat().st_mtime_ns == stamp


def test_hooks_do_not_run(tree: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    (tmp_path / ".gitconfig").write_text(f"[core]\nhooksPath = {hooks}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    first = shas(tree)[0]
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    Clone(History(tree.path, "-C"), tmp_path / "clone").check_out(first)
    assert not (tmp_path / "ran").exists()


def test_what_a_killed_git_left_locked_is_no_hindrance(tree: Repository, tmp_path: Path) -> None:
    Clone(History(tree.path, "-C"), tmp_path / "clone").check_out(shas(tree)[0])
    (tmp_path / "clone/.git/index.lock").touch()
    Clone(History(tree.path, "-C"), tmp_path / "clone").check_out(shas(tree)[1])
    assert (tmp_path / "clone/Makefile").read_text() == "2"


def test_a_bare_tree_serves(tree: Repository, tmp_path: Path) -> None:
    tree.git("clone", "--quiet", "--bare", str(tree.path), str(tmp_path / "bare.git"))
    history = History(tmp_path / "bare.git", "-C")
    assert (history.commit("main", "--bad").subject, history.uncommitted) == ("two", 0)


def test_uncommitted_files_are_counted(tree: Repository, tmp_path: Path) -> None:
    assert uncommitted(tree.path) == 0
    (tree.path / "same").write_text("y")
    (tree.path / "new").touch()
    assert uncommitted(tree.path) == 2
    (tmp_path / "plain").mkdir()
    assert uncommitted(tmp_path / "plain") == 0


class TestLibbpf:
    """pahole's copy of libbpf, a submodule."""

    @pytest.fixture
    def pahole(self, tmp_path: Path) -> Repository:
        libbpf = Repository.make(tmp_path / "libbpf")
        pahole = Repository.make(tmp_path / "pahole")
        for version in ("1", "2"):
            libbpf.commit(version, {"src/btf.h": version})
            if version == "1":
                add = ("submodule", "--quiet", "add", str(libbpf.path), "lib/bpf")
                pahole.git("-c", "protocol.file.allow=always", *add)
            else:
                pahole.git("-C", "lib/bpf", "fetch", "--quiet", str(libbpf.path))
                pahole.git("-C", "lib/bpf", "checkout", "--quiet", "FETCH_HEAD")
            pahole.commit(version, {"pahole.c": version})
        return pahole

    def test_it_is_the_commits(self, pahole: Repository, tmp_path: Path) -> None:
        clone = Clone(History(pahole.path, "--pahole-tree"), tmp_path / "clone")
        for sha, version in zip(shas(pahole), ("1", "2"), strict=True):
            clone.check_out(sha)
            assert (clone.path / "lib/bpf/src/btf.h").read_text() == version

    def test_without_it_in_the_users_tree_there_is_none(self, pahole: Repository, tmp_path: Path) -> None:
        pahole.git("submodule", "--quiet", "deinit", "--force", "lib/bpf")
        clone = Clone(History(pahole.path, "--pahole-tree"), tmp_path / "clone")
        clone.check_out(shas(pahole)[0])
        assert not (clone.path / "lib/bpf/src").exists()
        assert uncommitted(clone.path) == 0


def test_a_broken_tree_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    with pytest.raises(UsageError, match=r"-C .*: not a git tree: fatal: not a git repository"):
        History(tmp_path, "-C")
