# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How a finished build is changed and made again: a real make on the fake tree."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.errors import BuildError, UsageError
from kbtf_ci.kernel.btfcache import PROGRAM, Wrapper
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.measure import MakeOverrides, measure
from kbtf_ci.kernel.pahole import ask_kbuild
from kbtf_ci.kernel.regen import apply_scenario
from kbtf_ci.model.regeneration import Scenario, Usage
from tests.support import faketree
from tests.support.local import LocalRunner

MODULES = ("fs/alpha.ko", "lib/beta.ko")
# What the image's program tells, of a command that costs nothing.
_ACCOUNTANT = """#!/bin/sh
"$@"
status=$?
printf 'base\\tvmlinux\\t2000000\\t0\\t1\\t1\\n' >> "$KBTF_CI_ACCOUNTS"
printf 'make\\t%s\\t3000000\\t500000\\t4000000\\t77\\n' "$1" >> "$KBTF_CI_ACCOUNTS"
exit $status
"""


@pytest.fixture
def kbuild(tmp_path: Path) -> Kbuild:
    program = tmp_path / "accountant"
    program.write_text(_ACCOUNTANT)
    program.chmod(0o755)
    made = replace(faketree.kbuild(tmp_path), runner=LocalRunner({"/usr/bin/kbtf-ci-account": program}))
    (made.build_dir / ".config").write_text("")
    faketree.age(made.build_dir)
    return made


def test_the_first_make_writes_everything_and_the_second_nothing(kbuild: Kbuild) -> None:
    lines: list[str] = []
    first = measure(kbuild, MakeOverrides(), lines.append)
    assert (first.linked, first.written) == (frozenset(MODULES), frozenset(MODULES))
    assert first.usage == Usage(wall_s=4, user_s=3, system_s=0.5, peak_kib=77, base_cpu_s=2)
    assert lines[-1].startswith("make: Leaving directory ")  # however much came at once
    second = measure(kbuild, MakeOverrides(), lines.append)
    assert (second.linked, second.written) == (frozenset(), frozenset())
    assert list(kbuild.build_dir.glob(".kbtf-ci-accounts-*")) == []


def test_a_make_that_fails_is_told_with_its_last_words(kbuild: Kbuild) -> None:
    (kbuild.build_dir / ".config").write_text("CONFIG_BROKEN=y\n")
    with pytest.raises(BuildError, match="make failed in ") as caught:
        measure(kbuild, MakeOverrides(), lambda line: None)
    assert "'oops' undeclared" in caught.value.detail


def test_a_touched_vmlinux_and_a_deleted_module_are_found_by_make(kbuild: Kbuild) -> None:
    measure(kbuild, MakeOverrides(), lambda line: None)
    faketree.age(kbuild.build_dir)
    with apply_scenario(Scenario.TOUCHED, kbuild, MODULES) as overrides:
        assert measure(kbuild, overrides, lambda line: None).written == frozenset(MODULES)
    with apply_scenario(Scenario.DELETED, kbuild, MODULES) as overrides:
        assert measure(kbuild, overrides, lambda line: None).written == {MODULES[0]}


def test_kbuild_is_told_of_the_wrapper_and_the_wrapper_of_the_real_pahole(
    kbuild: Kbuild, tmp_path: Path
) -> None:
    wrapped = replace(kbuild, wrapper=Wrapper(tmp_path))
    command = wrapped.command(wrapped.argv("all"), "build")
    assert f"PAHOLE={PROGRAM}" in command.argv
    assert command.env["KBTF_CI_PAHOLE"] == "pahole"
    assert any(mount.source == tmp_path and mount.writable for mount in command.mounts)
    own = replace(wrapped, pahole=tmp_path / "pahole")
    assert own.environment()["KBTF_CI_PAHOLE"] == "/opt/kbtf-ci/pahole"
    assert ask_kbuild(wrapped).program == "pahole"


def record(kbuild: Kbuild, name: str, source: str) -> None:
    path = kbuild.build_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    path.with_name(f".{path.name}.cmd").write_text(f"savedcmd_{name} := gcc\n\nsource_{name} := {source}\n")


@pytest.mark.parametrize("scenario", [Scenario.BTF_CHANGED, Scenario.CODE_CHANGED])
def test_a_changed_source_lies_over_the_file_in_the_container_alone(
    kbuild: Kbuild, scenario: Scenario
) -> None:
    original = kbuild.source.path / "kernel/softirq.c"
    original.parent.mkdir()
    original.write_text("int original;\n")
    record(kbuild, "kernel/softirq.o", "/src/kernel/softirq.c")
    with apply_scenario(scenario, kbuild, MODULES) as overrides:
        (mount,) = overrides.mounts
        assert mount.target == "/src/kernel/softirq.c"
        assert mount.source.read_text().startswith("int original;\n")
        assert len(mount.source.read_text()) > len("int original;\n")
    assert original.read_text() == "int original;\n"
    # The file's own time is older than the object's: only a missing object is made again.
    assert not (kbuild.build_dir / "kernel/softirq.o").exists()


def test_the_module_that_is_changed_is_one_of_a_single_file(kbuild: Kbuild) -> None:
    for name in ("fs/alpha", "lib/beta"):
        (kbuild.source.path / f"{name}.c").write_text("int x;\n")
    (kbuild.build_dir / "fs").mkdir()
    (kbuild.build_dir / "fs/.alpha.o.cmd").write_text("savedcmd_fs/alpha.o := ld -r\n")
    record(kbuild, "lib/beta.o", "/src/lib/beta.c")
    with apply_scenario(Scenario.SOURCE_CHANGED, kbuild, MODULES) as overrides:
        assert [mount.target for mount in overrides.mounts] == ["/src/lib/beta.c"]


def test_a_build_without_what_a_scenario_needs_is_told(kbuild: Kbuild) -> None:
    single = pytest.raises(UsageError, match="none of its modules is made from a single C file")
    with single, apply_scenario(Scenario.SOURCE_CHANGED, kbuild, MODULES):
        pass
    built_in = pytest.raises(UsageError, match=r"kernel/softirq\.o: it was not compiled from a C file")
    with built_in, apply_scenario(Scenario.BTF_CHANGED, kbuild, MODULES):
        pass


def test_the_other_pahole_is_the_same_one_under_another_version(kbuild: Kbuild, tmp_path: Path) -> None:
    real = tmp_path / "bin/pahole"
    real.parent.mkdir()
    real.write_text('#!/bin/sh\necho "real $*"\n')
    real.chmod(0o755)
    with apply_scenario(Scenario.PAHOLE_CHANGED, kbuild, MODULES) as overrides:
        script = overrides.mounts[0].source
        env = {"PATH": f"{real.parent}:{os.environ['PATH']}"}
        for words, answer in ((["--version"], "v1.99\n"), (["-J", "x"], "real -J x\n")):
            assert subprocess.check_output([script, *words], env=env, text=True) == answer
        assert overrides.pahole == overrides.mounts[0].target
