# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The build against a tree in miniature, run by a real make."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import BuildError, InfrastructureError
from kbtf_ci.kernel.build import Built, Progress, build, check_disk
from kbtf_ci.kernel.kconfig import configure
from tests.support import faketree


def _build(folder: Path, own: str = "") -> tuple[Built, list[Progress]]:
    kbuild = faketree.kbuild(folder)
    configure(kbuild, faketree.profile(folder, own), ())
    seen: list[Progress] = []
    return build(kbuild, folder / "build.log", seen.append), seen


def test_what_kbuild_made_is_listed(tmp_path: Path) -> None:
    built, seen = _build(tmp_path)
    assert built.release == "6.12.3-fake"
    assert built.modules == ("fs/alpha.ko", "lib/beta.ko")
    assert built.steps == {"CC": 1, "CC [M]": 2, "LD [M]": 2, "BTF [M]": 2}
    assert built.image.exists()
    assert seen[-1].steps == 7
    assert "  BTF [M] lib/beta.ko" in (tmp_path / "build.log").read_text()


def test_an_unchanged_second_build_compiles_nothing(tmp_path: Path) -> None:
    _build(tmp_path)
    built, _ = _build(tmp_path)
    assert built.compiled == 0
    assert built.modules == ("fs/alpha.ko", "lib/beta.ko")


def test_a_module_of_an_earlier_configuration_is_not_listed(tmp_path: Path) -> None:
    _build(tmp_path)
    (tmp_path / "build/lib/left_over.ko").write_bytes(b"")
    assert "lib/left_over.ko" not in _build(tmp_path)[0].modules


def test_a_failing_compile_shows_the_compilers_first_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        _build(tmp_path, "CONFIG_BROKEN=y\n")
    assert "init/main.c:7:3: error: 'oops' undeclared" in caught.value.message
    assert str(tmp_path / "build.log") in caught.value.hint


def test_a_full_disk_is_no_fault_of_the_kernel(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="no space left"):
        _build(tmp_path, "CONFIG_FULL_DISK=y\n")


def test_a_compiler_killed_for_memory_is_no_fault_of_the_kernel(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"killed or got no memory: .*vmlinux\] Killed") as caught:
        _build(tmp_path, "CONFIG_KILLED=y\n")
    assert "-j" in caught.value.hint


def test_kbuilds_reason_for_no_btf_is_kept(tmp_path: Path) -> None:
    built, _ = _build(tmp_path, "CONFIG_NO_VMLINUX=y\n")
    assert built.skipped_btf["lib/beta.ko"] == (
        "Skipping BTF generation for lib/beta.ko due to unavailability of vmlinux"
    )


def test_too_little_disk_is_said_before_the_build(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"MiB free, this build needs about 1000000000 MiB"):
        check_disk(tmp_path, 10**9)
    (tmp_path / "vmlinux").touch()
    check_disk(tmp_path, 10**9)
