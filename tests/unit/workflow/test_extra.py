# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules given besides a kernel's own: where they are put, what they override, and what goes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.objfile.inventory import inventory
from kbtf_ci.workflow.extra import with_extra
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.intake import module_paths
from tests.support.elf import make_module

OWN = {"fs/big.ko": ("big", "lib"), "lib/lib.ko": ("lib", ""), "net/alone.ko": ("alone", "")}


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    for file, (name, depends) in OWN.items():
        path = directory.modules / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_module(name, depends=depends))
    return directory


def given(folder: Path, file: str, name: str, depends: str = "") -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_module(name, b"\x9f\xeb\1\0extra", depends))
    return path


def kernel(run: RunDirectory, files: tuple[str, ...] | None = None) -> BuiltKernel:
    return BuiltKernel(KernelFacts("6.12.1"), run.image, run.modules, files)


def listed(kernel: BuiltKernel) -> list[str]:
    return sorted(str(path.relative_to(kernel.modules)) for path in module_paths(kernel))


def test_they_lie_beside_the_kernels_own_and_are_gone_with_the_next_call(
    run: RunDirectory, tmp_path: Path
) -> None:
    one = given(tmp_path, "one.ko", "one")
    added = with_extra(kernel(run), GuestOptions(extra=(one,)), run)
    assert listed(added) == sorted([*OWN, "kbtf-ci-extra/one.ko"])
    two = given(tmp_path, "two.ko", "two")
    files = with_extra(kernel(run, tuple(OWN)), GuestOptions(extra=(two,)), run)
    assert listed(files) == sorted([*OWN, "kbtf-ci-extra/two.ko"])
    assert listed(with_extra(kernel(run), GuestOptions(), run)) == sorted(OWN)


def test_one_of_a_name_that_the_kernel_has_goes_before_it_whatever_modules_dep_says(
    run: RunDirectory, tmp_path: Path
) -> None:
    (run.modules / "modules.dep").write_text("net/alone.ko:\n")
    added = with_extra(kernel(run), GuestOptions(extra=(given(tmp_path, "mine.ko", "alone"),)), run)
    found = inventory(added.modules)
    (loser,) = found.overridden
    assert (loser.module.file, loser.by.file) == ("net/alone.ko", "kbtf-ci-extra/mine.ko")


def test_alone_they_bring_what_they_need_and_no_more(run: RunDirectory, tmp_path: Path) -> None:
    one = given(tmp_path, "one.ko", "one", "big")
    alone = with_extra(kernel(run), GuestOptions(extra=(one,), extra_only=True), run)
    assert listed(alone) == ["fs/big.ko", "kbtf-ci-extra/one.ko", "lib/lib.ko"]
    other = with_extra(kernel(run), GuestOptions(extra=(given(tmp_path, "x.ko", "x"),), extra_only=True), run)
    assert listed(other) == ["kbtf-ci-extra/x.ko"]


def test_one_that_cannot_be_read_is_there_to_be_named(run: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "bad.ko").write_bytes(b"garbage")
    alone = with_extra(kernel(run), GuestOptions(extra=(tmp_path / "bad.ko",), extra_only=True), run)
    assert listed(alone) == ["kbtf-ci-extra/bad.ko"]


def test_two_files_of_one_name_are_refused_and_nothing_is_put_anywhere(
    run: RunDirectory, tmp_path: Path
) -> None:
    files = (given(tmp_path, "a/m.ko", "m"), given(tmp_path, "b/m.ko", "m"))
    with pytest.raises(UsageError, match=r"a/m\.ko and .*b/m\.ko: two files of one name"):
        with_extra(kernel(run), GuestOptions(extra=files), run)
    assert listed(kernel(run)) == sorted(OWN)


def test_a_build_directory_is_left_alone(run: RunDirectory, tmp_path: Path) -> None:
    build = tmp_path / "build"
    (build / "kbtf-ci-extra").mkdir(parents=True)
    own = BuiltKernel(KernelFacts("6.12.1"), run.image, build, ("m.ko",))
    assert with_extra(own, GuestOptions(), run) is own
    assert (build / "kbtf-ci-extra").is_dir()
