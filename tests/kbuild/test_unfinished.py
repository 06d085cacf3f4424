# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a make that was killed has left behind, and the make after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import BuildError, InfrastructureError, InterruptError
from kbtf_ci.kernel.build import Progress, build
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.kconfig import configure
from tests.support import faketree

WRITTEN = ("vmlinux", "fs/alpha.ko")


def made(folder: Path, own: str = "", *, killed: bool = False) -> Kbuild:
    """Let make build; ``killed`` ends it from outside once it has said something."""

    def interrupt(progress: Progress) -> None:
        if killed and progress.steps:
            raise InterruptError("interrupted")

    kbuild = faketree.kbuild(folder)
    configure(kbuild, faketree.profile(folder, own), ())
    build(kbuild, folder / "build.log", interrupt)
    return kbuild


def contents(folder: Path) -> list[bytes]:
    return [(folder / "build" / name).read_bytes() for name in WRITTEN]


def damage(folder: Path) -> None:
    """Cut short what make writes, as a kill does; it is newer than all that it is made from."""
    for name in WRITTEN:
        (folder / "build" / name).write_bytes(b"cut sh")


def test_what_a_killed_make_wrote_is_made_again(tmp_path: Path) -> None:
    made(tmp_path)
    whole = contents(tmp_path)
    faketree.age(tmp_path / "build")
    (tmp_path / "build/vmlinux").unlink()
    with pytest.raises(InterruptError):
        made(tmp_path, killed=True)
    damage(tmp_path)
    made(tmp_path)
    assert contents(tmp_path) == whole


def test_what_was_there_before_is_kept(tmp_path: Path) -> None:
    made(tmp_path)
    faketree.age(tmp_path / "build")
    (tmp_path / "build/old.o").touch()
    faketree.age(tmp_path / "build/old.o")
    with pytest.raises(InterruptError):
        made(tmp_path, "CONFIG_BLOCK=y\n", killed=True)
    made(tmp_path)
    assert (tmp_path / "build/old.o").exists()


def test_a_make_that_was_killed_for_memory_counts_and_one_that_failed_does_not(tmp_path: Path) -> None:
    mark = tmp_path / "build/.kbtf-ci/making"
    made(tmp_path)
    assert not mark.exists()
    with pytest.raises(BuildError):
        made(tmp_path, "CONFIG_BROKEN=y\n")
    assert not mark.exists()
    with pytest.raises(InfrastructureError):
        made(tmp_path, "CONFIG_FULL_DISK=y\n")
    assert not mark.exists()
