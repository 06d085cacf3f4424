# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a run says of its commit."""

from __future__ import annotations

from typing import Any

import pytest

from kbtf_ci.errors import GuestError
from kbtf_ci.model.bisect import Findings, Mark, judge
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.kernel_warning import KernelWarning, WarningKind
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import ModuleResult, Outcome
from kbtf_ci.model.prediction import Prediction

PANIC = GuestError("the guest panicked")


def result(name: str, outcome: Outcome, **more: Any) -> ModuleResult:
    return ModuleResult(Module(name, f"kernel/{name}.ko", 10, "aa"), outcome, **more)


def findings(**outcomes: Outcome) -> tuple[ModuleResult, ...]:
    return tuple(result(name, outcome) for name, outcome in outcomes.items())


GOOD, BAD, SKIP = Mark.GOOD, Mark.BAD, Mark.SKIP
V, R, N, U = Outcome.VERIFIED, Outcome.REJECTED, Outcome.NOT_REACHED, Outcome.UNREADABLE


@pytest.mark.parametrize(
    ("found", "module", "mark"),
    [
        (Findings(findings(xfs=V, tun=V)), "", GOOD),
        (Findings(findings(xfs=R, tun=V)), "", BAD),
        (Findings(findings(xfs=V, tun=Outcome.LOAD_FAILED)), "", BAD),
        (Findings(findings(xfs=V, tun=Outcome.NO_BTF)), "", BAD),
        (Findings(findings(xfs=V, tun=U)), "", SKIP),
        (Findings(findings(xfs=R, tun=U)), "", BAD),
        (Findings(()), "", SKIP),
        # A guest that died says nothing by that, but what was seen before counts.
        (Findings(findings(xfs=V, tun=N), error=PANIC), "", SKIP),
        (Findings(findings(xfs=R, tun=N), error=PANIC), "", BAD),
        (Findings(findings(xfs=V), error=PANIC), "", SKIP),
        (Findings(findings(xfs=V), against={FailOn.VMLINUX}), "", BAD),
        # Others do not count where one module is asked for.
        (Findings(findings(xfs=V, tun=R)), "xfs", GOOD),
        (Findings(findings(xfs=R, tun=V)), "xfs", BAD),
        (Findings(findings(xfs=V, tun=N), error=PANIC), "xfs", GOOD),
        (Findings(findings(xfs=N, tun=V), error=PANIC), "xfs", SKIP),
        (Findings(findings(xfs=Outcome.LOAD_FAILED), error=PANIC), "xfs", BAD),
        (Findings(findings(xfs=Outcome.DROPPED)), "xfs", BAD),
        (Findings(findings(xfs=U)), "xfs", SKIP),
        (Findings(findings(tun=V)), "xfs", SKIP),
        (Findings(findings(xfs=V), against={FailOn.VMLINUX}), "xfs", GOOD),
    ],
)
def test_outcomes_decide(found: Findings, module: str, mark: Mark) -> None:
    assert judge(found, module).mark is mark


def test_btf_of_another_vmlinux_is_bad_where_it_counts() -> None:
    predictions = (Prediction("xfs", "kernel/xfs.ko", V, base_mismatch="BTF of another vmlinux"),)
    counted = Findings(findings(xfs=V), predictions, fail_on={FailOn.BASE_MISMATCH})
    assert judge(counted, "xfs").reason == "xfs VERIFIED, but BTF of another vmlinux"
    assert judge(counted, "xfs").mark is BAD
    assert judge(Findings(findings(xfs=V), predictions), "xfs").mark is GOOD
    every = Findings(findings(xfs=V), predictions, against={FailOn.BASE_MISMATCH})
    assert (judge(every).mark, judge(every).module) == (BAD, "xfs")


def test_a_warning_is_bad_where_it_counts() -> None:
    warned = (result("xfs", V, warnings=(KernelWarning(WarningKind.WARNING, "WARNING: at x.c", ()),)),)
    assert judge(Findings(warned, fail_on={FailOn.WARNING}), "xfs").mark is BAD
    assert judge(Findings(warned), "xfs").mark is GOOD


def test_the_reason_names_a_few_modules_and_the_first_of_them() -> None:
    found = judge(Findings(findings(a=R, b=R, c=R, d=R, e=V)))
    assert (found.reason, found.module) == ("a REJECTED, b REJECTED, c REJECTED and 1 more", "a")
