# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""results.json: the schema that other programs read (docs/architecture.md, section 7). It only grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.outcome import ModuleResult, Observation, Outcome
from kbtf_ci.model.prediction import OverriddenPrediction, Prediction, disagreements

RESULTS_SCHEMA = "kbtf-ci/results/1"


@dataclass(frozen=True)
class GuestFacts:
    """How it was booted: accelerator, seconds to boot and to load, boots of all guests, guests at once."""

    accel: str
    boot_s: float
    load_s: float
    boots: int = 1
    guests: int = 1


def totals(results: Iterable[ModuleResult]) -> dict[str, int]:
    """Return the number of modules and of each outcome, in the schema's words."""
    counts = Counter(result.outcome for result in results)
    return {"modules": counts.total(), **{outcome.value.lower(): counts[outcome] for outcome in Outcome}}


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
) -> dict[str, Any]:
    """Return results.json as a value. ``ended`` says why a run ended before its last module."""
    predicted = {one.name: one for one in predictions}
    return {
        "schema": RESULTS_SCHEMA,
        "kernel": vars(kernel).copy(),
        "guest": vars(guest).copy() if guest else None,
        "ended": ended or None,
        "totals": totals(results),
        "modes": modes(results),
        "disagreements": [one.result.module.name for one in disagreements(predictions, results)],
        "modules": [_entry(result, predicted.get(result.module.name)) for result in results],
        "overridden": [
            {
                "name": one.module.name,
                "file": one.module.file,
                "by": one.by.file,
                "predicted": _predicted(one.prediction),
            }
            for one in overridden
        ],
    }


def _entry(result: ModuleResult, predicted: Prediction | None) -> dict[str, Any]:
    seen = result.observation
    return {
        "name": result.module.name,
        "file": result.module.file,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "load": seen.mode.value if seen else None,
        "btf_bytes": result.module.btf_bytes,
        "btf_sha256": result.module.btf_sha256 or None,
        "sysfs_sha256": seen.sysfs_sha256 if seen else None,
        "errno": -seen.errno if seen and seen.errno else None,
        "load_us": seen.load_us if seen else None,
        "kernel_log": list(seen.log) if seen else [],
        "earlier": [_attempt(attempt) for attempt in result.earlier],
        "predicted": _predicted(predicted) if predicted else None,
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
