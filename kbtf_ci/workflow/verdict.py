# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a run ends with: a result for every module, its exit code, and the reports made from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kbtf_ci.errors import ExitCode, KbtfError
from kbtf_ci.infra import rundir
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.kfunc_proof import KfuncProof
from kbtf_ci.model.names import some
from kbtf_ci.model.outcome import ModuleResult, exit_code, only_unreadable
from kbtf_ci.model.prediction import OverriddenPrediction, Prediction
from kbtf_ci.model.proof import Proof
from kbtf_ci.model.results import FindingEntry, Results
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.report.results import GuestFacts, document
from kbtf_ci.report.summary import summary
from kbtf_ci.workflow.reports import toolchain_note, write_reports


@dataclass(frozen=True)
class Verdict:
    """The end of a run: a result for every module, and the error that ended it early, if one did.

    ``warnings`` are the kernel's that belong to no module, ``unusable`` vmlinux's own kfuncs that no BPF
    program can call; ``fail_on`` says which findings are no pass.
    """

    directory: rundir.RunDirectory
    kernel: KernelFacts
    guest: GuestFacts | None
    results: tuple[ModuleResult, ...]
    predictions: tuple[Prediction, ...] = ()
    overridden: tuple[OverriddenPrediction, ...] = ()
    error: KbtfError | None = None
    warnings: tuple[KernelWarning, ...] = ()
    vmlinux: VmlinuxSeen | None = None
    proof: Proof | None = None
    kfunc_proof: KfuncProof | None = None
    unusable: tuple[Unusable, ...] = ()
    fail_on: frozenset[FailOn] = DEFAULT_FAIL_ON

    @property
    def findings(self) -> frozenset[FailOn]:
        """What speaks against this kernel besides outcomes, whether it counts or not."""
        mismatch = any(one.base_mismatch for one in self.predictions)
        warned = bool(self.warnings) or any(result.warnings for result in self.results)
        found = {FailOn.BASE_MISMATCH: mismatch, FailOn.WARNING: warned}
        return frozenset(finding for finding, there in found.items() if there) | self._whole.keys()

    @property
    def _whole(self) -> dict[FailOn, tuple[str, str]]:
        """What speaks against the kernel as a whole: by what it counts, its name in reports, and a line."""
        found = {
            FailOn.VMLINUX: ("vmlinux", self.vmlinux.headline if self.vmlinux else ""),
            FailOn.PROOF: ("proof", self._proof_headline),
            FailOn.UNUSABLE: ("kfuncs", self._unusable_headline),
        }
        return {finding: told for finding, told in found.items() if told[1]}

    @property
    def _proof_headline(self) -> str:
        each = [one.headline for one in (self.proof, self.kfunc_proof) if one is not None]
        return "; ".join(line for line in each if line)

    @property
    def _unusable_headline(self) -> str:
        modules = (one for prediction in self.predictions for one in prediction.unusable)
        found = [*self.unusable, *modules]
        names = ", ".join(dict.fromkeys(one.kfunc or "one without a name" for one in found))
        return f"{len(found)} kfuncs that no BPF program can call: {names}" if found else ""

    @property
    def _entries(self) -> Iterator[FindingEntry]:
        """Yield the findings as results.json has them."""
        texts = {
            FailOn.BASE_MISMATCH: ("base mismatch", _of_another_vmlinux(self.predictions)),
            FailOn.WARNING: ("kernel warnings", _warned(self.results, self.warnings)),
            **self._whole,
        }
        for finding in sorted(self.findings):
            name, text = texts[finding]
            yield FindingEntry(finding=finding, name=name, text=text, counts=finding in self.fail_on)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that the results and those findings ask for that count."""
        return ExitCode.NOT_VERIFIED if self.findings & self.fail_on else exit_code(self.results)

    @property
    def only_unreadable(self) -> bool:
        """Whether some modules could not be read and nothing else is wrong: no word on the kernel."""
        return not self.findings & self.fail_on and only_unreadable(self.results)

    @property
    def ended(self) -> str:
        """Why the run ended before its last module, "" if it did not."""
        return self.error.message if self.error else ""

    @property
    def _told(self) -> dict[str, Any]:
        """What summary and document say besides the modules."""
        return {
            "overridden": self.overridden,
            "warnings": self.warnings,
            "vmlinux": self.vmlinux,
            "proof": self.proof,
            "kfunc_proof": self.kfunc_proof,
            "unusable": self.unusable,
        }

    def summary(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        if note := toolchain_note(self.directory):
            yield note
        yield from summary(self.kernel, self.guest, self.results, self.predictions, self.ended, **self._told)

    def write(self) -> None:
        """Write results.json and the reports made from it."""
        told = {**self._told, "fail_on": self.fail_on, "findings": self._entries}
        values = document(self.kernel, self.guest, self.results, self.predictions, self.ended, **told)
        rundir.write_json(self.directory.results_json, values)
        write_reports(self.directory, Results.of(values))


def _of_another_vmlinux(predictions: Iterable[Prediction]) -> str:
    names = [one.name for one in predictions if one.base_mismatch]
    return f"{len(names)} modules load, but their BTF does not belong to this vmlinux: {some(names)}"


def _warned(results: Iterable[ModuleResult], others: Sequence[KernelWarning]) -> str:
    names = [result.module.name for result in results if result.warnings]
    number = len(others) + sum(len(result.warnings) for result in results)
    return f"{number} kernel warnings{f', under {some(names)}' if names else ''}"
