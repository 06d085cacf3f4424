# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.profiles import (
    find_profile,
    known_fragments,
    known_profiles,
    lasting_fragment,
    parse_size_mib,
    profile_of,
)
from kbtf_ci.model.config import config_lines
from kbtf_ci.model.options import BuildOptions

TWELVE = {
    "i915", "radeon", "mlx5_core", "mlx5_ib", "xfs", "i40e", "bnx2x", "ib_core", "cifs", "nfsd", "kvm", "drm",
}  # fmt: skip


def test_the_shipped_profiles_are_valid_and_have_btf_and_guest_on_top() -> None:
    assert known_profiles() == ["defconfig", "smoke"]
    for name in known_profiles():
        profile = find_profile(name)
        on_top = [path.name for path in profile.fragments[-3:]]
        assert on_top == ["btf.config", "guest.config", "guest-x86_64.config"]
        assert all(path.is_file() for path in profile.fragments)


def test_an_architecture_has_its_own_fragments_required_modules_and_build_directory() -> None:
    ours, theirs = find_profile("smoke"), find_profile("smoke", "arm64")
    assert "e1000" in ours.require
    assert set(theirs.require) < set(ours.require)
    assert theirs.fragments[-1].name == "guest-arm64.config"
    assert (ours.key, theirs.key, theirs.steps) == ("smoke", "smoke-arm64", None)
    assert find_profile("tinyconfig", "s390x").key == "tinyconfig-s390x"


def test_a_profile_of_the_users_has_a_table_for_an_architecture(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'target = "tinyconfig"\nrequire = ["a"]\n[arch.arm64]\ntarget = "defconfig virt.config"\n'
        'fragments = ["pvh.config"]\nrequire = ["b"]\n'
    )
    profile = find_profile(str(tmp_path / "mine.toml"), "arm64")
    assert (profile.target, profile.require) == ("defconfig virt.config", ("a", "b"))
    assert [path.name for path in profile.own] == ["pvh.config"]
    assert find_profile(str(tmp_path / "mine.toml")).target == "tinyconfig"


def test_fragments_come_on_top_of_the_profiles_own_and_below_ours(tmp_path: Path) -> None:
    mine = tmp_path / "mine.config"
    mine.write_text("CONFIG_A=y\n")
    plain = find_profile("smoke")
    found = profile_of(BuildOptions("smoke", 1, fragments=("thinlto", str(mine))))
    assert found.own == (*plain.own, shipped("configs") / "thinlto.config", mine)
    assert (found.on_top, found.steps) == (plain.on_top, None)
    assert found.key.startswith("smoke+thinlto+")
    assert found.key != profile_of(BuildOptions("smoke", 1, fragments=("thinlto",))).key
    assert profile_of(BuildOptions("smoke", 1)) == plain
    with pytest.raises(UsageError, match="--fragment nosuch: no such fragment or file"):
        profile_of(BuildOptions("smoke", 1, fragments=("nosuch",)))


@pytest.mark.parametrize("name", known_fragments())
def test_a_fragment_that_ships_sets_something(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (shipped("configs") / f"{name}.config").read_text()
    assert list(config_lines(text))
    monkeypatch.chdir(tmp_path)
    assert lasting_fragment(name) == name
    assert lasting_fragment("mine.config") == str(tmp_path / "mine.config")


def test_the_big_profile_requires_the_commits_biggest() -> None:
    assert set(find_profile("defconfig").require) >= TWELVE


def test_a_profile_of_the_users_finds_fragments_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.config").write_text("CONFIG_XFS_FS=m\n")
    (tmp_path / "mine.toml").write_text(
        'target = "tinyconfig"\nfragments = ["mine.config", "modules-smoke.config"]\n[guest]\nmemory = "2G"\n'
    )
    profile = find_profile(str(tmp_path / "mine.toml"))
    assert profile.fragments[0] == tmp_path / "mine.config"
    assert (profile.target, profile.memory_mib, profile.name) == ("tinyconfig", 2048, "mine")


def test_a_defconfig_target_and_a_config_file_serve_as_well(tmp_path: Path) -> None:
    assert find_profile("allnoconfig").target == "allnoconfig"
    (tmp_path / ".config").write_text("CONFIG_A=y\n")
    profile = find_profile(str(tmp_path / ".config"))
    assert profile.config_file == tmp_path / ".config"
    (tmp_path / "b").mkdir()
    (tmp_path / "b/.config").write_text("CONFIG_A=y\n")
    assert find_profile(str(tmp_path / "b/.config")).key != profile.key


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('target = "x"\ntagret = 1\n', "unknown key 'tagret'"),
        ('target = "x"\n[guest]\nmemroy = "1G"\n', r"unknown key 'guest.memroy'"),
        ('target = "x"\n[arch.arm64]\nstpes = 1\n', r"unknown key 'arch.arm64.stpes'"),
        ('target = "x"\nsteps = 0\n', "key 'steps': Input should be greater"),
        ("fragments = []\n", "key 'target' is missing"),
        ('target = "x"\ndisk = "many"\n', "key 'disk': 'many' is no size"),
        ('target = "x"\nfragments = ["no.config"]\n', "fragment 'no.config' is not there"),
        ("target = \n", "not valid TOML"),
    ],
)
def test_a_faulty_profile_is_named_with_its_fault(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=fault) as caught:
        find_profile(str(path))
    assert str(path) in caught.value.message


@pytest.mark.parametrize("name", ["nosuch", "no/such/.config", "no/such.toml"])
def test_an_unknown_profile_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        find_profile(name)


def test_sizes() -> None:
    assert [parse_size_mib(text) for text in ("512", "768M", "3g")] == [512, 768, 3072]
    for text in ("", "0", "G", "-1M", "1.5G"):
        with pytest.raises(ValueError, match="is no size"):
            parse_size_mib(text)
