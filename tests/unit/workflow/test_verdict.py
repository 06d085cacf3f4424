# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a verdict's findings make of its exit code, and that its reports hold them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.errors import ExitCode
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning, WarningKind
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode, Observation, Outcome, judge, with_warnings
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.model.proof import Proof
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.workflow.verdict import Verdict
from tests.support.schemas import valid

WARNING, BASE_MISMATCH = FailOn.WARNING, FailOn.BASE_MISMATCH
XFS = Module("xfs", "kernel/fs/xfs/xfs.ko", 10, "aa")
GOOD = judge(XFS, [Observation("xfs", LoadMode.REAL, 0, 10, "aa")])
STALE = Prediction("xfs", "xfs.ko", Outcome.VERIFIED, base_mismatch="type 1 is another")
LINE = "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2"


def verdict(
    module: str | None = None,
    *,
    stale: bool = False,
    fail_on: Collection[FailOn] = DEFAULT_FAIL_ON,
    folder: Path = Path(),
) -> Verdict:
    """A verified module; a warning of ``module``, "" for none, None for no warning; another vmlinux's BTF."""
    said = [] if module is None else [KernelWarning(WarningKind.WARNING, LINE, (LINE,), module)]
    results, warnings = with_warnings([GOOD], said)
    return Verdict(
        RunDirectory(folder),
        KernelFacts("6.12.3", "c0", "130", "gcc 14"),
        None,
        results,
        (STALE,) if stale else (),
        warnings=warnings,
        fail_on=frozenset(fail_on),
    )


@pytest.mark.parametrize(
    ("module", "stale", "fail_on", "code"),
    [
        (None, False, [WARNING, BASE_MISMATCH], ExitCode.VERIFIED),
        ("xfs", False, DEFAULT_FAIL_ON, ExitCode.VERIFIED),
        ("", False, DEFAULT_FAIL_ON, ExitCode.VERIFIED),
        ("xfs", False, [WARNING], ExitCode.NOT_VERIFIED),
        ("", False, [WARNING], ExitCode.NOT_VERIFIED),
        ("other", False, [WARNING], ExitCode.NOT_VERIFIED),
        (None, True, DEFAULT_FAIL_ON, ExitCode.NOT_VERIFIED),
        (None, True, [WARNING], ExitCode.VERIFIED),
        ("xfs", True, [], ExitCode.VERIFIED),
        ("xfs", True, [WARNING, BASE_MISMATCH], ExitCode.NOT_VERIFIED),
    ],
)
def test_a_finding_counts_where_it_is_asked_for(
    module: str | None, stale: bool, fail_on: Collection[FailOn], code: ExitCode
) -> None:
    assert verdict(module, stale=stale, fail_on=fail_on).exit_code is code


def test_a_module_that_is_not_verified_counts_whatever_is_asked_for() -> None:
    failed = judge(XFS, [Observation("xfs", LoadMode.REAL, 19)])
    facts = KernelFacts("6.12.3", "c0", "130", "gcc 14")
    assert Verdict(RunDirectory(Path()), facts, None, (failed,), fail_on=frozenset()).exit_code == 1


def test_every_report_that_is_written_names_a_warning(tmp_path: Path) -> None:
    for module in ("xfs", ""):
        one = verdict(module, fail_on=[WARNING], folder=tmp_path)
        one.write()
        valid("results", json.loads((tmp_path / "results.json").read_text()))
        assert LINE in "\n".join(one.summary())
        for name in ("summary.md", "junit.xml", "results.ktap", "results.json"):
            assert LINE in (tmp_path / name).read_text(), name
        assert "<failure" in (tmp_path / "junit.xml").read_text()
        assert "not ok" in (tmp_path / "results.ktap").read_text()
        values = json.loads((tmp_path / "results.json").read_text())
        assert (values["fail_on"], values["totals"]["warnings"]) == (["warning"], 1)


@pytest.mark.parametrize(
    ("difference", "fail_on", "code"),
    [
        ("", DEFAULT_FAIL_ON, ExitCode.VERIFIED),
        ("byte 7", DEFAULT_FAIL_ON, ExitCode.NOT_VERIFIED),
        ("byte 7", [BASE_MISMATCH], ExitCode.VERIFIED),
    ],
)
def test_another_btf_of_vmlinux_in_memory_counts_by_itself(
    difference: str, fail_on: Collection[FailOn], code: ExitCode
) -> None:
    one = replace(verdict(fail_on=fail_on), vmlinux=VmlinuxSeen("aa", "bb", difference))
    assert one.exit_code is code
    assert (FailOn.VMLINUX in one.findings) == bool(difference)


@pytest.mark.parametrize(("finding", "name"), [(FailOn.VMLINUX, "vmlinux"), (FailOn.PROOF, "proof")])
def test_what_is_wrong_with_the_whole_kernel_is_a_case_of_its_own_where_it_counts(
    tmp_path: Path, finding: FailOn, name: str
) -> None:
    for fail_on, failures in (([finding], 1), ([], 0)):
        one = replace(
            verdict(fail_on=fail_on, folder=tmp_path),
            vmlinux=VmlinuxSeen("aa", "bb", "byte 7") if finding is FailOn.VMLINUX else None,
            proof=Proof(ended="a panic") if finding is FailOn.PROOF else None,
        )
        assert one.findings >= {finding}
        one.write()
        assert (tmp_path / "junit.xml").read_text().count(f'<testcase name="{name}"') == failures
        assert f" {name} # " in (tmp_path / "results.ktap").read_text() or not failures
        assert ("a panic" if finding is FailOn.PROOF else "byte 7") in (tmp_path / "summary.md").read_text()
