# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Real modules that a real kernel complains of and survives: each is named, with what was said."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runner import Mount, run
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON
from kbtf_ci.workflow import workspace
from tests.e2e.conftest import Cli

HEAD = """\
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/module.h>

/* A type of its own, so that there is split BTF to verify. */
struct kbtf_ci_@NAME@ { int seconds; } kbtf_ci_@NAME@ = { SECONDS };

MODULE_DESCRIPTION("kbtf-ci's test module @NAME@");
MODULE_LICENSE("GPL");

static __maybe_unused noinline int keep_cpu(void *unused)
{
	unsigned long end = jiffies + kbtf_ci_@NAME@.seconds * HZ;

	preempt_disable();
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
	return 0;
}

static int __init start(void)
{
	@INIT@
}
module_init(start);
"""
# In the order in which they are loaded: the last one comes while the thread of the one before keeps its CPU.
MODULES = {
    "a_warner": "WARN_ON(kbtf_ci_a_warner.seconds);\n\treturn 0;",
    "b_locker": "return keep_cpu(NULL);",
    "c_threader": 'return PTR_ERR_OR_ZERO(kthread_run(keep_cpu, NULL, "c_threader"));',
    "d_quiet": "return 0;",
}


class Quiet:
    """A Reporter that tells nobody."""

    def stage(self, name: str) -> None: ...
    def progress(self, text: str, done: int = 0, total: int | None = None) -> None: ...
    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...


def build(spare_run: Path, folder: Path, seconds: int) -> None:
    """Put the modules, built against the smoke run's own tree, in place of the run's."""
    folder.mkdir()
    objects = " ".join(f"{name}.o" for name in MODULES)
    (folder / "Makefile").write_text(f"obj-m := {objects}\nccflags-y := -DSECONDS={seconds}\n")
    for name, init in MODULES.items():
        source = HEAD.replace("@NAME@", name).replace("@INIT@", init)
        (folder / f"{name}.c").write_text(source)
    with workspace.open_build(RunDirectory(spare_run).read_build().build_options, Quiet()) as kbuild:
        command = kbuild.command(kbuild.argv("M=/warners", "modules"), "warning modules")
        mounts = (*command.mounts, Mount(folder, "/warners", writable=True))
        done = run(kbuild.runner, replace(command, mounts=mounts))
    assert done.status == 0, done.text
    shutil.rmtree(spare_run / "kernel/modules")
    extra = spare_run / "kernel/modules/extra"
    extra.mkdir(parents=True)
    for name in MODULES:
        shutil.copy2(folder / f"{name}.ko", extra)


def kinds(results: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    (module,) = (one for one in results["modules"] if one["name"] == name)
    return {one["kind"]: one for one in module["warnings"]}


def check(done: subprocess.CompletedProcess[str], spare_run: Path) -> dict[str, Any]:
    """All are verified as they were built, and the three that misbehave are named for it."""
    results: dict[str, Any] = json.loads((spare_run / "results.json").read_text())
    told = {one["name"]: (one["outcome"], one["load"]) for one in results["modules"]}
    assert told == dict.fromkeys(MODULES, ("VERIFIED", "real")), done.stdout + done.stderr
    warning = kinds(results, "a_warner")["warning"]
    assert "a_warner.c:" in warning["headline"]
    assert warning["host_may_be_to_blame"] is False
    for name, task in (("b_locker", "probe"), ("c_threader", "c_threader")):
        lockup = kinds(results, name)["soft-lockup"]
        assert "stuck for" in lockup["headline"]
        assert f"[{task}:" in lockup["headline"]
        assert lockup["host_may_be_to_blame"] is True
        assert any("keep_cpu" in line and f"[{name}]" in line for line in lockup["lines"])
    assert kinds(results, "d_quiet") == {}
    for name in ("summary.md", "junit.xml", "results.ktap"):
        text = (spare_run / name).read_text()
        assert all(kind in text for kind in ("soft-lockup", "a_warner.c:")), name
    assert "kernel warning of c_threader (extra/c_threader.ko): soft-lockup" in done.stdout
    assert "a host that gave it no time may be to blame" in done.stdout
    assert "4 VERIFIED, " in done.stdout
    return results


@pytest.mark.full
def test_a_warning_and_lockups_in_init_and_in_a_thread_are_the_modules(
    cli: Cli, spare_run: Path, tmp_path: Path
) -> None:
    build(spare_run, tmp_path / "warners", seconds=16)
    done = cli("verify", spare_run, "--accel", "tcg", "--append", "watchdog_thresh=5", "--fail-on", "warning")
    results = check(done, spare_run)
    assert (done.returncode, results["fail_on"]) == (1, ["warning"])
    cases = ET.parse(spare_run / "junit.xml").getroot()
    failed = {case.get("name") for case in cases.iter("testcase") if case.find("failure") is not None}
    assert failed >= {"a_warner", "b_locker", "c_threader"}
    assert "d_quiet" not in failed


@pytest.mark.full
def test_half_a_minute_of_the_only_cpu_leaves_outcome_and_exit_as_they_are(
    cli: Cli, spare_run: Path, tmp_path: Path
) -> None:
    build(spare_run, tmp_path / "warners", seconds=32)
    # RCU complains after 21 s, the watchdog on its round between 20 s and 28 s, and what RCU prints starts
    # the watchdog's count again: whichever came first would decide what is reported.
    quiet_rcu = ("--append", "rcupdate.rcu_cpu_stall_suppress=1")
    done = cli("verify", spare_run, "--accel", "tcg", "--cpus", "1", *quiet_rcu)
    results = check(done, spare_run)
    assert (done.returncode, results["fail_on"]) == (0, sorted(DEFAULT_FAIL_ON))
