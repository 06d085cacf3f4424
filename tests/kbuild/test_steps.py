# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How many steps a build is expected to make: as many as the last whole one of its like, and no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.errors import BuildError, InterruptError
from kbtf_ci.infra.profiles import find_profile
from kbtf_ci.kernel.build import Built, Progress, build, is_untouched
from kbtf_ci.kernel.kconfig import configure
from kbtf_ci.kernel.steps import StepCount
from kbtf_ci.model.options import BuildOptions
from tests.support import faketree

OPTIONS = BuildOptions("fake", 1)


def count(folder: Path, own: str = "", options: BuildOptions = OPTIONS) -> StepCount:
    profile = replace(faketree.profile(folder, own), steps=5)
    return StepCount.of(folder / "steps", profile, faketree.kbuild(folder).source, options)


def made(folder: Path, own: str = "", *, killed: bool = False) -> tuple[Built, list[int | None]]:
    """Build as a run does; return what was made, and all totals that were told meanwhile."""
    kbuild, steps = faketree.kbuild(folder), count(folder, own)
    configure(kbuild, faketree.profile(folder, own), ())
    told: list[int | None] = []

    def tell(now: Progress) -> None:
        told.append(now.total)
        if killed and now.steps:
            raise InterruptError("interrupted")

    built = build(kbuild, folder / "build.log", tell, steps.expected)
    steps.keep(built)
    return built, told


def test_the_profiles_own_count_goes_before_any_build_and_the_last_whole_builds_after(tmp_path: Path) -> None:
    built, told = made(tmp_path)
    assert built.whole
    assert set(told) == {5}
    assert count(tmp_path).expected == 7


def test_what_an_incremental_build_makes_is_not_known_and_not_kept(tmp_path: Path) -> None:
    made(tmp_path)
    faketree.age(tmp_path / "build")
    (tmp_path / "build/lib/beta.ko").unlink()
    built, told = made(tmp_path)
    assert sum(built.steps.values()) == 3
    assert (built.whole, set(told)) == (False, {None})
    assert count(tmp_path).expected == 7


def test_a_build_that_failed_is_not_kept_nor_is_the_rest_of_it(tmp_path: Path) -> None:
    with pytest.raises(BuildError):
        made(tmp_path, "CONFIG_BROKEN=y\n")
    (tmp_path / "build/init").mkdir()
    (tmp_path / "build/init/main.o").touch()
    built, told = made(tmp_path)
    assert (built.whole, set(told)) == (False, {None})
    assert count(tmp_path).expected == 5


def test_a_first_build_that_was_killed_begins_anew_and_counts(tmp_path: Path) -> None:
    with pytest.raises(InterruptError):
        made(tmp_path, killed=True)
    (tmp_path / "build/vmlinux").write_bytes(b"cut sh")
    built, told = made(tmp_path)
    assert (built.whole, set(told)) == (True, {5})
    assert count(tmp_path).expected == 7


def test_what_configuring_compiles_is_no_kernel(tmp_path: Path) -> None:
    for file in ("scripts/sorttable.o", "tools/x.o", "scripts/kconfig/conf.o"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert is_untouched(tmp_path)
    (tmp_path / "init").mkdir()
    (tmp_path / "init/main.o").touch()
    assert not is_untouched(tmp_path)


def test_another_profile_series_or_option_has_another_count(tmp_path: Path) -> None:
    made(tmp_path)
    kbuild = faketree.kbuild(tmp_path)
    profile = faketree.profile(tmp_path)
    folder, source = tmp_path / "steps", kbuild.source
    others = [
        StepCount.of(folder, replace(profile, name="other"), source, OPTIONS),
        StepCount.of(folder, replace(profile, own_file=tmp_path / "fake.toml"), source, OPTIONS),
        StepCount.of(folder, profile, replace(source, version="6.13.0"), OPTIONS),
        StepCount.of(folder, profile, source, replace(OPTIONS, added=("CONFIG_XFS_FS=m",))),
        StepCount.of(folder, profile, source, replace(OPTIONS, variables=("V=1",))),
    ]
    assert [other.expected for other in others] == [None] * 5
    assert len({other.path for other in others}) == 5
    stable = StepCount.of(folder, profile, replace(source, version="6.12.200"), replace(OPTIONS, jobs=9))
    assert stable.expected == 7


@pytest.mark.parametrize("content", [b"", b"0\n", b"-3\n", b"many\n", b"\xff\xfe", b"9" * 5000])
def test_a_damaged_count_is_none(content: bytes, tmp_path: Path) -> None:
    steps = count(tmp_path)
    steps.path.parent.mkdir()
    steps.path.write_bytes(content)
    assert steps.expected == 5


def test_a_count_that_cannot_be_kept_costs_no_build(tmp_path: Path) -> None:
    (tmp_path / "steps").write_text("a file")
    built, _ = made(tmp_path)
    assert built.whole
    assert count(tmp_path).expected == 5


def test_smoke_ships_its_count() -> None:
    assert (find_profile("smoke").steps or 0) > 1000
    assert find_profile("tinyconfig").steps is None
