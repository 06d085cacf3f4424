# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a report has besides a test case a module: what is of no module and counts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.results import Fault, Results
from kbtf_ci.report.kernel_warning import NO_MODULE

_KINDS: Final = {FailOn.VMLINUX: "VMLINUX", FailOn.PROOF: "PROOF", FailOn.UNUSABLE: "KFUNCS"}


@dataclass(frozen=True)
class MoreCase:
    """One such case: the kernel's warnings that are of no module, a finding of the whole kernel, the run."""

    name: str
    fault: Fault
    warnings: tuple[KernelWarning, ...] = ()


def more_cases(results: Results) -> Iterator[MoreCase]:
    """Yield those cases: with them a report has a failure or an error where the run has not passed."""
    if results.warnings and results.counts(FailOn.WARNING):
        yield MoreCase(NO_MODULE, Fault("WARNING", results.warnings[0].title), results.warnings)
    for one in results.of_the_kernel:
        if one.counts:
            yield MoreCase(one.name, Fault(_KINDS[FailOn(one.finding)], one.text))
    if results.ended:
        yield MoreCase("run", Fault("ENDED", results.ended, unseen=True))
    elif not results.modules:
        yield MoreCase("run", Fault("EMPTY", "there is no module to verify", unseen=True))
