# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The end of a run in a few lines of plain text: what was verified, and by name whatever was not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kbtf_ci.model.kernel import X86_64, KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.kfunc_proof import KfuncProof
from kbtf_ci.model.outcome import ModuleResult, Outcome
from kbtf_ci.model.prediction import OverriddenPrediction, Prediction, disagreements
from kbtf_ci.model.proof import Proof
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.report.check import differences, unusable_lines
from kbtf_ci.report.kernel_warning import by_owner
from kbtf_ci.report.proof import fentry_lines, kfunc_lines
from kbtf_ci.report.results import GuestFacts, modes, totals

# How many of the kernel's lines on one module are shown; results.json has them all.
_LOG_LINES = 6
# How many functions that programs do otherwise on are shown; results.json has them all.
# How many modules that the run did not reach are named; beyond that the count says enough.
_UNREACHED_NAMES = 10


def summary(
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
) -> Iterator[str]:
    """Yield the lines of the summary.

    Every module that is not VERIFIED stands in it with its reason, and with the offline check's advice;
    where prediction and kernel differ, both stand side by side. ``warnings`` are those of no module.
    """
    counts = totals(results, warnings)
    size = sum(result.module.btf_bytes for result in results)
    yield f"kernel {kernel.release}: {counts['modules']} modules, {size:,} bytes of split BTF"
    if guest is not None:
        yield _how(guest, results)
    if ended:
        yield f"the run ended early: {ended}"
    if vmlinux is not None and vmlinux.headline:
        yield vmlinux.headline
    yield from unusable_lines("vmlinux", unusable)
    for one in predictions:
        yield from unusable_lines(one.name, one.unusable)
    if proof is not None:
        yield from fentry_lines(proof)
    if kfunc_proof is not None:
        yield from kfunc_lines(kfunc_proof)
    advice = {one.name: f"{one.cause}: {one.advice}" for one in predictions if one.cause}
    yield from _faults([result for result in results if result.outcome is not Outcome.VERIFIED], advice)
    yield from _mismatches(predictions, advice)
    yield from differences(disagreements(predictions, results))
    for other in overridden:
        yield (
            f"{other.module.file} was not loaded: modprobe takes {other.by.file} in its place "
            f"(predicted of it: {other.prediction.outcome.value})"
        )
    yield from _warnings(results, warnings)
    yield _one_line(counts)


def _how(guest: GuestFacts, results: Sequence[ModuleResult]) -> str:
    by_mode = ", ".join(f"{count} {mode}" for mode, count in modes(results).items())
    boots = f", {guest.boots} boots" if guest.boots > guest.guests else ""
    who = "guest" if guest.guests == 1 else f"{guest.guests} guests"
    who += "" if guest.architecture == X86_64 else f" of {guest.architecture}"
    return (
        f"{who} ({guest.accel}): booted in {guest.boot_s:.1f} s, loaded in {guest.load_s:.1f} s"
        f"{boots}; verdicts by load mode: {by_mode or 'none'}"
    )


def _mismatches(predictions: Sequence[Prediction], advice: Mapping[str, str]) -> Iterator[str]:
    for one in predictions:
        if one.base_mismatch:
            yield f"{one.name} loads, but its BTF does not belong to this vmlinux"
            yield f"    {one.base_mismatch}"
            yield f"    -> {advice[one.name]}"


def _one_line(counts: Mapping[str, int]) -> str:
    shown = {outcome.value: counts[outcome.value.lower()] for outcome in Outcome}
    told = [f"{count} {name}" for name, count in shown.items() if count] or ["nothing was verified"]
    if warned := counts["warnings"]:
        told.append(f"{warned} kernel warning{'s' if warned > 1 else ''}")
    return ", ".join(told)


def _warnings(results: Sequence[ModuleResult], others: Sequence[KernelWarning]) -> Iterator[str]:
    for owner, one in by_owner(results, others):
        yield f"kernel warning of {owner}: {one.title}"
        yield from (f"    {line}" for line in one.lines[:_LOG_LINES])


def _faults(faults: Sequence[ModuleResult], advice: Mapping[str, str]) -> Iterator[str]:
    unreached = [result for result in faults if result.outcome is Outcome.NOT_REACHED]
    for result in faults:
        if result.outcome is Outcome.NOT_REACHED:
            continue
        yield f"{result.outcome.value} {result.module.name} ({result.module.file}) {result.reason}".rstrip()
        log = result.observation.log if result.observation else ()
        yield from (f"    {line}" for line in log[-_LOG_LINES:])
        if result.module.name in advice:
            yield f"    -> {advice[result.module.name]}"
    if unreached:
        names = ", ".join(result.module.name for result in unreached[:_UNREACHED_NAMES])
        more = len(unreached) - _UNREACHED_NAMES
        yield f"NOT_REACHED {names}" + (f" and {more} more" if more > 0 else "")
