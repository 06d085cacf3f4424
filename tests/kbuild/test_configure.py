# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Configuration against a tree in miniature: a real make, the messages a person gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.infra.profiles import find_profile
from kbtf_ci.kernel.kconfig import configure
from tests.support import faketree
from tests.support.local import LocalRunner


def test_fragments_reach_the_config(tmp_path: Path) -> None:
    profile = faketree.profile(tmp_path, "CONFIG_BLOCK=y\nCONFIG_ALPHA_FS=m\n# CONFIG_BETA is not set\n")
    done = configure(faketree.kbuild(tmp_path), profile, ())
    assert done.values["ALPHA_FS"] == "m"
    assert "BETA" not in done.values
    assert (tmp_path / "build/.config").read_text() == done.path.read_text()


def test_an_added_symbol_wins_over_the_profile(tmp_path: Path) -> None:
    profile = faketree.profile(tmp_path, "CONFIG_BETA=y\n")
    assert configure(faketree.kbuild(tmp_path), profile, ("CONFIG_BETA=m",)).values["BETA"] == "m"


def test_config_is_rewritten_only_when_it_changes(tmp_path: Path) -> None:
    kbuild = faketree.kbuild(tmp_path)
    path = configure(kbuild, faketree.profile(tmp_path), ()).path
    faketree.age(path)
    first = path.stat().st_mtime_ns
    assert configure(kbuild, faketree.profile(tmp_path), ()).path.stat().st_mtime_ns == first
    changed = configure(kbuild, faketree.profile(tmp_path), ("BETA=m",)).path.stat().st_mtime_ns
    assert changed > first


def test_kconfig_is_not_asked_again_for_an_unchanged_fixed_source(tmp_path: Path) -> None:
    kbuild = faketree.kbuild(tmp_path)
    fixed = replace(kbuild, source=replace(kbuild.source, fixed=True))
    profile = faketree.profile(tmp_path)
    first = configure(fixed, profile, ())
    runner = kbuild.runner
    assert isinstance(runner, LocalRunner)
    asked = len(runner.started)
    assert configure(fixed, profile, ()) == first
    assert len(runner.started) == asked
    configure(fixed, profile, ("BETA=m",))
    assert len(runner.started) > asked


def test_an_altered_config_is_made_again(tmp_path: Path) -> None:
    kbuild = faketree.kbuild(tmp_path)
    fixed = replace(kbuild, source=replace(kbuild.source, fixed=True))
    first = configure(fixed, faketree.profile(tmp_path), ())
    first.path.write_text("CONFIG_BETA=y\n")
    assert configure(fixed, faketree.profile(tmp_path), ()).values == first.values


def test_a_lost_symbol_names_its_place_and_its_unmet_dependency(tmp_path: Path) -> None:
    profile = faketree.profile(tmp_path, "# comment\nCONFIG_ALPHA_FS=m\n")
    with pytest.raises(UsageError) as caught:
        configure(faketree.kbuild(tmp_path), profile, ())
    assert caught.value.message == (
        "own.config:2: CONFIG_ALPHA_FS=m was asked for, the final .config has it unset: "
        "depends on BLOCK (BLOCK is not set); "
        "depends on MODULES && (BLOCK || !MODULES) (MODULES=y, BLOCK is not set)"
    )
    assert not (tmp_path / "build/.config").exists()


def test_an_old_name_is_held_to_what_it_stands_for(tmp_path: Path) -> None:
    profile = faketree.profile(tmp_path, "CONFIG_DELTA_ONE=y\n")
    kbuild = faketree.kbuild(tmp_path)
    assert configure(kbuild, profile, ()).values["DELTA"] == "y"
    script = tmp_path / "tree/scripts/olddefconfig.sh"
    script.write_text(script.read_text().replace("CONFIG_DELTA=", "CONFIG_OTHER="))
    with pytest.raises(UsageError, match="CONFIG_DELTA_ONE=y was asked for"):
        configure(kbuild, profile, ())


@pytest.mark.parametrize(
    ("version", "fault"),
    [("0", "pahole is missing"), ("118", "pahole 1.18 writes no split BTF, 1.19 is the first that does")],
)
def test_lost_split_btf_is_blamed_on_pahole(tmp_path: Path, version: str, fault: str) -> None:
    kbuild = faketree.kbuild(tmp_path, f"FAKE_PAHOLE={version}")
    with pytest.raises(UsageError, match=f"CONFIG_DEBUG_INFO_BTF.*{fault}"):
        configure(kbuild, faketree.profile(tmp_path), ())


def test_lost_split_btf_is_blamed_on_kconfig_where_pahole_is_fine(tmp_path: Path) -> None:
    profile = faketree.profile(tmp_path, btf="CONFIG_DEBUG_INFO_BTF_MODULES=y\n# CONFIG_MODULES is not set\n")
    tree = faketree.plant(tmp_path)
    script = tree / "scripts/olddefconfig.sh"
    script.write_text(script.read_text() + "sed -i '/DEBUG_INFO_BTF_MODULES/d' \"$1\"\n")
    with pytest.raises(UsageError, match=r"depends on DEBUG_INFO_BTF && MODULES .*MODULES is not set"):
        configure(faketree.kbuild(tmp_path), profile, ())


def test_a_symbol_that_no_kconfig_knows_is_refused(tmp_path: Path) -> None:
    profile = faketree.profile(tmp_path, "CONFIG_BETAA=m\n")
    with pytest.raises(UsageError, match=r"own.config:1: no Kconfig file of this tree knows CONFIG_BETAA"):
        configure(faketree.kbuild(tmp_path), profile, ())


def test_a_shipped_fragment_may_switch_off_what_an_older_kernel_does_not_know(tmp_path: Path) -> None:
    kconfig = faketree.plant_for_cli(tmp_path) / "lib/Kconfig"
    kconfig.write_text(kconfig.read_text().replace("config MODULE_ALLOW_BTF_MISMATCH\n", "config RENAMED\n"))
    configure(faketree.kbuild(tmp_path), find_profile("tinyconfig"), ())
    kconfig.write_text(kconfig.read_text().replace("config BPF_SYSCALL\n", "config RENAMED_TOO\n"))
    with pytest.raises(UsageError, match="knows CONFIG_BPF_SYSCALL"):
        configure(faketree.kbuild(tmp_path), find_profile("tinyconfig"), ())


def test_a_symbol_switched_off_by_a_user_must_exist_all_the_same(tmp_path: Path) -> None:
    profile = faketree.profile(tmp_path, "# CONFIG_BETAA is not set\n")
    with pytest.raises(UsageError, match="knows CONFIG_BETAA"):
        configure(faketree.kbuild(tmp_path), profile, ())


def test_a_wish_against_the_btf_fragment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"-K # CONFIG_MODULES is not set: kbtf-ci needs CONFIG_MODULES=y"):
        configure(faketree.kbuild(tmp_path), faketree.profile(tmp_path), ("MODULES=n",))


def test_a_wish_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="-K XFS: not of the form"):
        configure(faketree.kbuild(tmp_path), faketree.profile(tmp_path), ("XFS",))


def test_an_unknown_target_is_refused(tmp_path: Path) -> None:
    profile = replace(faketree.profile(tmp_path), target="nosuch_defconfig")
    with pytest.raises(UsageError, match="--config nosuch_defconfig"):
        configure(faketree.kbuild(tmp_path), profile, ())


def test_a_toolchain_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no no-such-clang") as caught:
        configure(faketree.kbuild(tmp_path, "LLVM=1"), faketree.profile(tmp_path), ())
    assert "VAR=VALUE" in caught.value.hint


def test_a_failing_kconfig_shows_its_first_error(tmp_path: Path) -> None:
    script = faketree.plant(tmp_path) / "scripts/olddefconfig.sh"
    script.write_text("echo 'fs/Kconfig:3: syntax error'; exit 1\n")
    with pytest.raises(UsageError, match=r"make olddefconfig failed: fs/Kconfig:3: syntax error"):
        configure(faketree.kbuild(tmp_path), faketree.profile(tmp_path), ())


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("kill -9 $$", "killed or got no memory"),
        ("echo cp: x: No space left on device; exit 1", "no space"),
    ],
)
def test_a_machine_that_fails_kconfig_is_not_blamed_on_the_user(
    tmp_path: Path, script: str, fault: str
) -> None:
    (faketree.plant(tmp_path) / "scripts/olddefconfig.sh").write_text(f"{script}\n")
    with pytest.raises(InfrastructureError, match=fault):
        configure(faketree.kbuild(tmp_path), faketree.profile(tmp_path), ())


def test_a_missing_file_of_the_tree_is_no_unknown_target(tmp_path: Path) -> None:
    makefile = faketree.plant(tmp_path) / "Makefile"
    makefile.write_text(makefile.read_text().replace("olddefconfig:\n", "olddefconfig: arch/foo/Makefile\n"))
    with pytest.raises(UsageError, match=r"make olddefconfig failed: .*No rule to make target 'arch/foo"):
        configure(faketree.kbuild(tmp_path), faketree.profile(tmp_path), ())


def test_a_config_file_is_the_start(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text('CONFIG_PAHOLE_VERSION=130\nCONFIG_BETA=m\nCONFIG_CC_VERSION_TEXT="x"\n')
    profile = replace(faketree.profile(tmp_path), target="", config_file=tmp_path / "mine")
    assert configure(faketree.kbuild(tmp_path), profile, ()).values["BETA"] == "m"
