# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A build is taken for a run's only where all that decides its modules' BTF agrees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.identity import identify, require_same
from kbtf_ci.model.run_record import BuildIdentity
from tests.support import images
from tests.support.records import run_record


@pytest.fixture
def build(tmp_path: Path) -> Path:
    (tmp_path / ".config").write_text("CONFIG_A=y\n")
    (tmp_path / "modules.order").write_text("fs/xfs/xfs.o\n")
    (tmp_path / "vmlinux").write_bytes(images.vmlinux(b"\x9f\xeb\x01\0" + bytes(20)))
    return tmp_path


def facts(found: BuildIdentity) -> dict[str, str]:
    return {"release": found.release, "config_sha256": found.config_sha256}


CHANGES: dict[str, Callable[[Path], object]] = {
    "the configuration": lambda build: (build / ".config").write_text("CONFIG_A=m\n"),
    "the list of modules": lambda build: (build / "modules.order").write_text("fs/ext4/ext4.o\n"),
    "the BTF of vmlinux": lambda build: (build / "vmlinux").write_bytes(
        images.vmlinux(b"\x9f\xeb\x01\0" + bytes(21))
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_build_in_the_folder_is_told_apart_by_what_differs(build: Path, what: str) -> None:
    before = identify(build, "6.12.1")
    run = run_record(kernel=facts(before), build=before.model_dump())
    require_same(build, identify(build, "6.12.1"), run)
    CHANGES[what](build)
    with pytest.raises(UsageError) as caught:
        require_same(build, identify(build, "6.12.1"), run)
    assert f"holds another build now than this run was made from: {what} differs" in caught.value.message
    assert str(build) in caught.value.message


def test_an_earlier_versions_run_is_held_to_release_and_configuration(build: Path) -> None:
    before = identify(build, "6.12.1")
    run = run_record(kernel=facts(before))
    CHANGES["the list of modules"](build)
    require_same(build, identify(build, "6.12.1"), run)
    with pytest.raises(UsageError, match=r"the kernel's release differs \(6\.12\.1, now 6\.12\.2\)"):
        require_same(build, identify(build, "6.12.2"), run)


def test_a_folder_without_a_build_is_named(build: Path) -> None:
    (build / "modules.order").unlink()
    with pytest.raises(UsageError, match=r"modules\.order: cannot be read: No such file"):
        identify(build, "6.12.1")
