# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where the cache lies, and what is said of a place that cannot be one."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.paths import cache_root, shown_path
from tests.conftest import unavailable


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine's own, and a current folder of the test's."""
    monkeypatch.chdir(tmp_path)
    for name in ("KBTF_CI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_a_file_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KBTF_CI_CACHE", "file")
    with pytest.raises(UsageError) as caught:
        cache_root()
    assert caught.value.message == "KBTF_CI_CACHE=file: not a folder"
    monkeypatch.setenv("KBTF_CI_CACHE", f"{tmp_path}/file/below")
    with pytest.raises(UsageError, match=rf"below: not a folder \({tmp_path}/file is a file\)"):
        cache_root()


def test_a_link_to_nowhere_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    monkeypatch.setenv("KBTF_CI_CACHE", "link")
    with pytest.raises(UsageError, match="KBTF_CI_CACHE=link: not a folder"):
        cache_root()


def test_a_relative_cache_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KBTF_CI_CACHE", "a/b")
    assert cache_root() == tmp_path / "a" / "b"


@pytest.mark.parametrize("value", ["", "relative"])
def test_an_xdg_folder_counts_when_it_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_root() == tmp_path / ".cache" / "kbtf-ci"
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/xdg")
    assert cache_root() == tmp_path / "xdg" / "kbtf-ci"


@pytest.mark.parametrize("home", ["", "relative"])
def test_a_home_that_is_none_is_looked_up(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    assert cache_root() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".cache" / "kbtf-ci"


def as_another_user(user: int, **env: str) -> str:
    """Return what a process without root's powers is told of its cache."""
    script = (
        "import os; from kbtf_ci.infra.paths import cache_root; from kbtf_ci.errors import UsageError\n"
        f"os.geteuid() or os.setuid({user})\n"
        "try: print(cache_root())\n"
        "except UsageError as error: print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_cache_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    assert as_another_user(65534, KBTF_CI_CACHE=f"{closed}/a/b") == (
        f"KBTF_CI_CACHE={closed}/a/b: this user cannot write to {closed}"
    )


def test_a_user_without_a_home_is_told_so() -> None:
    if os.geteuid() != 0:
        unavailable("root", "only root becomes a user that no password file knows")
    assert as_another_user(3_999_999, HOME="") == (
        "user 3999999 has no home folder to keep a cache in: HOME is not set"
    )


def test_what_lies_below_the_current_folder_is_shown_from_there(tmp_path: Path) -> None:
    assert shown_path(tmp_path / "runs" / "x") == "runs/x"
    assert shown_path(tmp_path.parent / "x") == str(tmp_path.parent / "x")
