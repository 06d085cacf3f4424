# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Setup for a user who may not install or start anything, and is told what does without."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kbtf_ci.container import provision, subids
from kbtf_ci.errors import EngineError, InfrastructureError

NOBODY = 65534


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that alone is in PATH, of a user without root or sudo; no engine answers."""
    with tempfile.TemporaryDirectory(prefix="kbtf-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("PATH", folder)
        monkeypatch.setenv("KBTF_CI_CACHE", f"{folder}/cache")
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/cache/engine/docker.sock")
        was = os.geteuid()
        if was == 0:
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(was)


def put(file: Path, text: str = "#!/bin/false\n") -> None:
    """Write a file, a program for everybody, as who runs the tests."""
    user = os.geteuid()
    os.seteuid(os.getuid())
    file.write_text(text)
    file.chmod(0o755)
    os.seteuid(user)


def refused() -> EngineError:
    with pytest.raises(EngineError) as raised:
        provision.setup(lambda _: None)
    return raised.value


@pytest.mark.parametrize(
    ("systemd", "opens"),
    [(True, "systemctl --user enable --now podman.socket"), (False, "podman system service --time=0 &")],
)
def test_a_user_without_root_is_told_what_does_without(
    programs: Path, monkeypatch: pytest.MonkeyPatch, systemd: bool, opens: str
) -> None:
    monkeypatch.setattr(provision, "_SYSTEMD", programs if systemd else programs / "none")
    put(programs / "dockerd")
    error = refused()
    assert error.message == (
        "docker is installed but does not run, and starting it needs root, or sudo without a password"
    )
    assert "`apt-get install podman crun uidmap slirp4netns` by an administrator" in error.hint
    assert f"then `{opens}`" in error.hint
    assert "`--engine host`" in error.hint
    assert "\n" not in error.hint


def test_with_podman_its_socket_is_all_that_is_missing(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "_SYSTEMD", programs)
    put(programs / "podman")
    put(programs / "dockerd")
    error = refused()
    assert error.message == "Podman is installed, but its socket is not open"
    assert error.hint.startswith("run `systemctl --user enable --now podman.socket`")


@pytest.fixture
def ranges(programs: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """/etc/subuid and /etc/subgid of that user's machine, which are not there yet."""
    files = (programs / "subuid", programs / "subgid")
    monkeypatch.setattr(subids, "FILES", files)
    return files


def blamed() -> InfrastructureError:
    with pytest.raises(InfrastructureError) as raised, subids.to_blame():
        raise InfrastructureError("lchown /etc/gshadow: invalid argument")
    return raised.value


def test_a_user_without_ids_is_told_of_them_when_an_image_fails(ranges: tuple[Path, Path]) -> None:
    user = subids._name()
    put(ranges[0], "# ids\nother:100000:65536\nbroken:x:y\n")
    error = blamed()
    assert error.message == (
        f"the user {user} has no range of ids in {ranges[0]} and {ranges[1]}, and without one makes no image"
    )
    assert f"usermod --add-subuids 165536-231071 --add-subgids 165536-231071 {user}`" in error.hint
    assert error.detail == "lchown /etc/gshadow: invalid argument"


@pytest.mark.parametrize("by_number", [False, True])
def test_with_ids_the_cause_is_another(ranges: tuple[Path, Path], by_number: bool) -> None:
    owner = str(os.geteuid()) if by_number else subids._name()
    put(ranges[0], f"{owner}:100000:65536\n")
    assert str(ranges[1]) in blamed().message
    assert str(ranges[0]) not in blamed().message
    put(ranges[1], f"{owner}:100000:65536\n")
    assert blamed().message == "lchown /etc/gshadow: invalid argument"


def test_who_gets_ids_from_elsewhere_than_the_files_has_them(
    programs: Path, ranges: tuple[Path, Path]
) -> None:
    put(programs / "getsubids", "#!/bin/sh\necho 0: user 100000 65536\n")
    assert blamed().message == "lchown /etc/gshadow: invalid argument"


def test_libarchive_is_installed_where_it_lacks_and_nothing_fails_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted: list[tuple[str, ...]] = []
    notes: list[str] = []
    monkeypatch.setattr(provision, "apt_install", wanted.append)
    monkeypatch.setenv("LIBARCHIVE", __file__)
    provision._archives(notes.append)
    assert wanted == []
    monkeypatch.setenv("LIBARCHIVE", "/nowhere/libarchive.so")
    provision._archives(notes.append)
    assert wanted == [("libarchive13",)]

    def refuse(packages: tuple[str, ...]) -> None:
        raise InfrastructureError("installing needs root", hint="have an administrator run it")

    monkeypatch.setattr(provision, "apt_install", refuse)
    provision._archives(notes.append)
    assert notes[-1].startswith("installing needs root: without libarchive no rpm is read")
