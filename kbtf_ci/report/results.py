# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""results.json: the schema that other programs read (docs/architecture.md, section 7). It only grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.kernel import X86_64, KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.kfunc_proof import KfuncProof
from kbtf_ci.model.outcome import ModuleResult, Observation, Outcome
from kbtf_ci.model.prediction import OverriddenPrediction, Prediction, disagreements
from kbtf_ci.model.proof import Proof
from kbtf_ci.model.results import RESULTS_SCHEMA, FindingEntry
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.objfile.depmod import is_extra
from kbtf_ci.report import kernel_warning
from kbtf_ci.report.check import unusable_entries
from kbtf_ci.report.proof import fentry_entry, kfunc_entry


@dataclass(frozen=True)
class GuestFacts:
    """How it was booted: accelerator, seconds to boot and to load, boots of all guests, guests at once.

    ``architecture`` is the guests'.
    """

    accel: str
    boot_s: float
    load_s: float
    boots: int = 1
    guests: int = 1
    architecture: str = X86_64


def totals(results: Sequence[ModuleResult], warnings: Sequence[KernelWarning] = ()) -> dict[str, int]:
    """Return the number of modules, of each outcome, and of the kernel's warnings, in the schema's words.

    ``warnings`` are those of no module.
    """
    counts = Counter(result.outcome for result in results)
    outcomes = {outcome.value.lower(): counts[outcome] for outcome in Outcome}
    warned = sum(len(result.warnings) for result in results) + len(warnings)
    return {"modules": counts.total(), **outcomes, "warnings": warned}


def modes(results: Iterable[ModuleResult]) -> dict[str, int]:
    """Return how many verdicts each load mode gave."""
    seen = (result.observation.mode.value for result in results if result.observation)
    return dict(Counter(seen))


def document(
    kernel: KernelFacts,
    guest: GuestFacts | None,
    results: Sequence[ModuleResult],
    predictions: Sequence[Prediction] = (),
    ended: str = "",
    *,
    overridden: Sequence[OverriddenPrediction] = (),
    warnings: Sequence[KernelWarning] = (),
    vmlinux: VmlinuxSeen | None = None,
    proof: Proof | None = None,
    kfunc_proof: KfuncProof | None = None,
    unusable: Sequence[Unusable] = (),
    fail_on: Collection[FailOn] = DEFAULT_FAIL_ON,
    findings: Sequence[FindingEntry] = (),
) -> dict[str, Any]:
    """Return results.json as a value.

    ``ended`` says why a run ended before its last module; ``warnings`` are those of no module in ``results``,
    ``unusable`` vmlinux's own kfuncs that no program can call, ``findings`` what speaks against the kernel
    besides outcomes.
    """
    predicted = {one.name: one for one in predictions}
    return {
        "schema": RESULTS_SCHEMA,
        "kernel": vars(kernel).copy(),
        "guest": vars(guest).copy() if guest else None,
        "vmlinux": vars(vmlinux).copy() if vmlinux else None,
        "proof": fentry_entry(proof) if proof else None,
        "kfunc_proof": kfunc_entry(kfunc_proof) if kfunc_proof else None,
        "unusable": unusable_entries(unusable),
        "ended": ended or None,
        "fail_on": sorted(fail_on),
        "findings": [one.model_dump() for one in findings],
        "totals": totals(results, warnings),
        "modes": modes(results),
        "disagreements": [one.result.module.name for one in disagreements(predictions, results)],
        "modules": [_entry(result, predicted.get(result.module.name)) for result in results],
        "overridden": [_overridden(one) for one in overridden],
        "warnings": [{"module": one.module or None, **kernel_warning.entry(one)} for one in warnings],
    }


def _entry(result: ModuleResult, predicted: Prediction | None) -> dict[str, Any]:
    seen = result.observation
    return {
        "name": result.module.name,
        "file": result.module.file,
        "extra": is_extra(result.module.file),
        "outcome": result.outcome.value,
        "reason": result.reason,
        "load": seen.mode.value if seen else None,
        "btf_bytes": result.module.btf_bytes,
        "btf_sha256": result.module.btf_sha256 or None,
        "sysfs_sha256": seen.sysfs_sha256 if seen else None,
        "errno": -seen.errno if seen and seen.errno else None,
        "load_us": seen.load_us if seen else None,
        "kernel_log": list(seen.log) if seen else [],
        "warnings": [kernel_warning.entry(one) for one in result.warnings],
        "earlier": [_attempt(attempt) for attempt in result.earlier],
        "unusable": unusable_entries(predicted.unusable) if predicted else [],
        "predicted": _predicted(predicted) if predicted else None,
    }


def _overridden(one: OverriddenPrediction) -> dict[str, Any]:
    return {
        "name": one.module.name,
        "file": one.module.file,
        "by": one.by.file,
        "predicted": _predicted(one.prediction),
    }


def _predicted(one: Prediction) -> dict[str, Any]:
    return {
        "outcome": one.outcome.value,
        "rule": one.rule,
        "base_mismatch": one.base_mismatch,
        "misfit": one.base_mismatch,  # its name in kbtf-ci 0.1
        "cause": one.cause,
        "advice": one.advice,
    }


def _attempt(attempt: Observation) -> dict[str, Any]:
    return {
        "load": attempt.mode.value,
        "errno": -attempt.errno if attempt.errno else None,
        "death": attempt.death.value if attempt.death else None,
        "kernel_log": list(attempt.log),
    }
