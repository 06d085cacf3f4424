# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The catalogue of failures on a real kernel: it says of each case what is written there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from kbtf_ci.btf.cases.case import taken
from kbtf_ci.btf.cases.catalogue import CASES, named
from kbtf_ci.errors import ExitCode
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.repro import reproduce
from tests.e2e.conftest import Cli

# For other configurations, and older kernels.
ELSEWHERE = {
    "mismatch-allowed", "module-named-vmlinux-livepatch", "base-not-known", "kfunc-without-twin",
    "func-of-another-prototype", "argument-of-another-struct",
}  # fmt: skip
# pahole 1.30 writes the same bytes with -j8 and without; no load fails for the other.
NOT_PROVOKED = {"encoded-in-parallel", "kfunc-prototype-as-it-was"}


def test_the_kernel_does_in_every_case_as_the_catalogue_says(cli: Cli, spare_run: Path) -> None:
    done = cli("repro", "run", spare_run, "--all", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads(done.stdout)
    cases = {one["name"]: one for one in values["cases"]}
    assert list(cases) == [case.name for case in CASES]
    not_run = ELSEWHERE | NOT_PROVOKED
    assert {name for name, one in cases.items() if not one["applicable"]} == not_run
    assert {name for name, one in cases.items() if one["ok"]} == cases.keys() - not_run
    assert {one["control"] for one in cases.values() if one["applicable"]} == {"VERIFIED"}
    assert json.loads((spare_run / "repro.json").read_text()) == values
    assert {"modules", "vmlinux-kind-unknown"} <= {path.name for path in (spare_run / "repro").iterdir()}


def test_a_finished_build_serves_as_it_lies_there(cli: Cli, smoke_run: Path, tmp_path: Path) -> None:
    """In a run directory of its own, without a copy of kernel and modules; what was built before is kept."""
    folder = tmp_path / "cases"
    names = ("pahole-overridden", "vmlinux-not-at-hand", "strip-debug", "kind-0")
    done = cli("repro", "run", "--config", "smoke", "-o", folder, *names, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {one["name"] for one in json.loads(done.stdout)["cases"] if one["ok"]} == set(names)
    assert (folder / "repro.json").is_file()
    assert not any((folder / "kernel").iterdir())


def test_an_expectation_that_the_kernel_does_not_keep_to_is_red(spare_run: Path) -> None:
    """One is wrong, and so is one of a vmlinux; the case beside them is not."""
    wrong = [replace(one, expected=taken()) for one in named(["kind-0", "vmlinux-changed-in-memory"])]
    lines = named(["version-2"])[0]
    refusing = replace(lines.expected.refusing, log=("BPF: Invalid magic", lines.expected.refusing.log[-1]))
    other_line = replace(lines, expected=replace(lines.expected, refusing=refusing))
    cases = [*named(["flags-1"]), other_line, *wrong]
    with TerminalReporter(quiet=True) as reporter:
        found = reproduce(spare_run, cases, GuestOptions(Accel.AUTO), reporter)
    results = {one.name: one for one in found.results}
    assert {name: one.ok for name, one in results.items()} == {
        "flags-1": True, "version-2": False, "kind-0": False, "vmlinux-changed-in-memory": False,
    }  # fmt: skip
    assert results["version-2"].faults == ("other lines in the kernel's log",)
    assert "REJECTED where VERIFIED was expected" in results["kind-0"].faults[0]
    (memory,) = results["vmlinux-changed-in-memory"].faults
    assert "of the string 'task_struct'" in memory
    assert found.exit_code is ExitCode.NOT_VERIFIED
