# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Regeneration on the smoke build: kbuild's own rule, a Makefile that breaks it, and the cache's bytes."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import ExitCode
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runner import Command, Mount, Process, Runner, run
from kbtf_ci.kernel.btfcache import PROGRAM, Wrapper
from kbtf_ci.kernel.measure import MakeOverrides, measure
from kbtf_ci.kernel.source import file_sha256
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.regeneration import Scenario
from kbtf_ci.objfile.inputs import module_state
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import regen as regenerating
from kbtf_ci.workflow import workspace
from tests.e2e.conftest import Cli

# What regen says of each scenario, by its name.
Touched = dict[str, dict[str, Any]]

MODFINAL = "scripts/Makefile.modfinal"


@pytest.fixture(scope="module")
def touched(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Touched:
    cli = Cli(tmp_path_factory.mktemp("regen"))
    scenarios = ("--scenario", "vmlinux-touched", "--scenario", "module-deleted")
    done = cli("regen", smoke_run, *scenarios, "--btf-server", "--json")
    assert done.returncode == 0, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)["scenarios"]}


def test_nothing_to_do_is_nothing_done(touched: Touched) -> None:
    entry = touched["nothing"]
    assert (entry["linked"], entry["written"], entry["due"], entry["vmlinux_linked"]) == ([], [], [], False)


def test_a_server_writes_the_same_btf_of_all_modules(touched: Touched) -> None:
    entry = touched["vmlinux-touched"]
    server = entry["server"]
    assert (server["differing"], server["usage"]["fallbacks"]) == ([], 0)
    assert (entry["usage"]["served"], server["usage"]["served"]) == (0, len(entry["written"]))
    assert touched["nothing"]["server"] is None


def test_a_touched_vmlinux_has_all_btf_written_for_nothing_and_no_module_linked(
    touched: Touched, smoke_run: Path
) -> None:
    entry = touched["vmlinux-touched"]
    files = sorted(str(path.relative_to(smoke_run / "kernel/modules/kernel"))
                   for path in (smoke_run / "kernel/modules").rglob("*.ko"))  # fmt: skip
    assert entry["written"] == entry["needless"] == files
    assert (entry["linked"], entry["due"], entry["stale"]) == ([], [], [])
    # Its kfuncs' flags: see Finding.btf_ids_reordered.
    assert "net/netfilter/nf_conntrack.ko" in entry["shuffled"]
    assert entry["usage"]["modules_cpu_s"] > 10 * touched["nothing"]["usage"]["modules_cpu_s"]
    assert entry["usage"]["user_s"] + entry["usage"]["system_s"] > entry["usage"]["modules_cpu_s"] > 0.5
    assert entry["usage"]["peak_kib"] > touched["nothing"]["usage"]["peak_kib"]
    # A newer vmlinux has the boot image linked again, and that alone.
    assert entry["usage"]["modules_link_cpu_s"] == 0
    assert entry["usage"]["base_link_cpu_s"] < entry["usage"]["modules_cpu_s"] / 5


def test_a_deleted_module_is_linked_and_gets_its_btf_and_no_other_does(touched: Touched) -> None:
    entry = touched["module-deleted"]
    assert entry["linked"] == entry["written"] == entry["due"] != []
    assert len(entry["due"]) == 1
    assert entry["usage"]["modules_link_cpu_s"] > 0
    assert entry["boot"] is None


@dataclass(frozen=True)
class Overlaid:
    """A runner in whose containers one file of the kernel's source is another."""

    runner: Runner
    file: Path
    contained: ClassVar[bool] = True

    def start(self, command: Command) -> AbstractContextManager[Process]:
        sees_source = any(mount.target == "/src" for mount in command.mounts)
        over = (Mount(self.file, f"/src/{MODFINAL}"),) if sees_source else ()
        return self.runner.start(replace(command, mounts=(*command.mounts, *over)))


@pytest.mark.full
def test_a_makefile_that_forgets_vmlinux_leaves_stale_btf_that_check_and_boot_confirm(
    smoke_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RunDirectory(smoke_run).read_build().build_options
    with TerminalReporter(quiet=True) as reporter:
        tools = workspace.toolchain(options.suite, reporter)
        text = (workspace.source(options, tools, reporter).path / MODFINAL).read_text()
        prerequisite = " $(and $(CONFIG_DEBUG_INFO_BTF_MODULES),$(KBUILD_BUILTIN),vmlinux)"
        assert prerequisite in text
        broken = tmp_path / "Makefile.modfinal"
        broken.write_text(text.replace(prerequisite, ""))
        spoilt = replace(tools, runner=Overlaid(tools.runner, broken))
        monkeypatch.setattr(workspace, "toolchain", lambda suite, reporter: spoilt)
        found = regenerating.regenerate(regenerating.RegenOptions(options, (Scenario.BTF_CHANGED,)), reporter)
    finding = found.findings[-1]
    assert found.exit_code is ExitCode.NOT_VERIFIED
    assert len(finding.stale) == len(finding.due) == found.setting.modules
    assert not finding.ran.written
    assert finding.ran.vmlinux
    assert len(finding.check) > found.setting.modules // 2
    lines = list(found.text())
    assert any(line.startswith("STALE vmlinux-btf-changed: ") for line in lines)
    # The same modules before a kernel that holds the new base.
    assert finding.boot is not None
    assert set(finding.boot.outcomes) == set(finding.due)
    counts = Counter(finding.boot.outcomes.values())
    assert set(counts) <= {Outcome.REJECTED, Outcome.VERIFIED}
    assert counts[Outcome.REJECTED] > len(finding.due) // 2
    assert finding.boot.disagreements == ()
    assert any(f"{counts[Outcome.REJECTED]} REJECTED" in line and "predicted each" in line for line in lines)
    assert found.findings[0].boot is None


@pytest.mark.parametrize("fresh", [True, False], ids=["freshly linked", "written before"])
def test_every_module_is_byte_for_byte_the_same_with_no_cold_and_warm_cache(
    smoke_run: Path, tmp_path: Path, engine: Engine, toolchain: Toolchain, fresh: bool
) -> None:
    flags = shlex.join(json.loads((smoke_run / "run.json").read_text())["pahole"]["flags"])
    strip = "objcopy --remove-section .BTF $m" if fresh else ":"
    script = f"""
        ln -s /run/kernel/vmlinux vmlinux
        for way in none cold warm; do
          mkdir $way
          case $way in none) program=pahole ;; *) program={PROGRAM} ;; esac
          find /run/kernel/modules -name '*.ko' | while read -r from; do
            m=$way/${{from##*/}}; cp $from $m; {strip}
            $program -J {flags} --btf_base vmlinux $m || exit 1
          done || exit 1
        done
        for m in none/*.ko; do cmp $m cold/${{m#none/}}; cmp $m warm/${{m#none/}}; echo compared; done
    """
    work = tmp_path / "work"
    work.mkdir()
    env = {"KBTF_CI_PAHOLE_ID": "x", "KBTF_CI_BTF_CACHE": "/bench/cache", "LLVM_OBJCOPY": "objcopy",
           "KBTF_CI_ACCOUNTS": "/bench/log"}  # fmt: skip
    (work / "cache").mkdir()
    mounts = (Mount(work, "/bench", writable=True), Mount(smoke_run, "/run"))
    runner = engine.runner(toolchain.image)
    done = run(runner, Command(("sh", "-ec", script), mounts, env, workdir="/bench"))
    modules = len(list((smoke_run / "kernel/modules").rglob("*.ko")))
    assert (done.status, done.text) == (0, "compared\n" * modules)
    kinds = [line.split("\t")[0] for line in (work / "log").read_text().splitlines()]
    assert kinds == ["miss"] * modules + ["hit"] * modules


def test_kbuild_itself_makes_the_same_files_with_no_cold_and_warm_cache(
    smoke_run: Path, tmp_path: Path
) -> None:
    options = RunDirectory(smoke_run).read_build().build_options
    with TerminalReporter(quiet=True) as reporter:
        made = []
        with workspace.open_build(options, reporter) as kbuild:
            files = [kbuild.build_dir / file for file in kbuild.modules]
            for cache in (None, tmp_path, tmp_path):
                for file in files:
                    file.unlink()
                ran = measure(replace(kbuild, wrapper=Wrapper(cache)), MakeOverrides(), lambda line: None)
                digests = {file: file_sha256(file) for file in files}
                made.append((digests, ran.usage.hits, ran.usage.misses))
    (plain, *_), (cold, _, misses), (warm, hits, _) = made
    assert plain == cold == warm
    assert len(plain) == misses == hits > 50


def test_a_cached_build_has_the_same_modules_and_the_cache_is_shown_and_emptied(
    cli: Cli, smoke_run: Path, tmp_path: Path
) -> None:
    done = cli("build", "--config", "smoke", "-o", "cached", env={"KBTF_CI_USE_BTF_CACHE": "1"})
    assert done.returncode == 0, done.stderr
    for path in (smoke_run / "kernel/modules").rglob("*.ko"):
        same = tmp_path / "cached" / path.relative_to(smoke_run)
        # .BTF_ids apart, which tells how often resolve_btfids ran on one link.
        assert replace(module_state(same), ids="") == replace(module_state(path), ids=""), path.name
    facts = json.loads((tmp_path / "cached/run.json").read_text())
    assert (facts["pahole"]["program"], facts["wishes"]["btf_cache"]) == ("pahole", True)
    own = {"KBTF_CI_CACHE": str(tmp_path / "own")}
    (tmp_path / "own/btf/ab").mkdir(parents=True)
    (tmp_path / "own/btf/ab" / "ab".ljust(64, "0")).write_bytes(b"nothing")
    shown = json.loads(cli("btf-cache", "--json", env=own).stdout)
    assert (shown["entries"], shown["spoilt"]) == (1, 1)
    assert cli("btf-cache", "--clear", env=own).stdout.splitlines()[0] == "removed 1 entries"
    assert json.loads(cli("btf-cache", "--json", env=own).stdout)["entries"] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "regen wants either a run directory or --config"),
        (("--config", "nowhere.config"), "nowhere.config"),
        (("--config", "smoke", "--scenario", "rain"), "rain"),
        (("--config", "tinyconfig", "-C", "."), "not a kernel source tree"),
        ((".",), "holds no run"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(cli: Cli, words: tuple[str, ...], message: str) -> None:
    done = cli("regen", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_build_that_was_never_made_is_told_and_how_to_make_it(cli: Cli, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "Kconfig").touch()
    (tree / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\n")
    done = cli("regen", "--config", "smoke", "-C", tree)
    assert done.returncode == 2
    assert "holds no finished build of smoke\n  kbtf-ci build --config smoke makes it" in done.stderr
