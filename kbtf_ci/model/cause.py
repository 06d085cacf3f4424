# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is wrong with a run, by cause: many modules that fail for one reason are one cause. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.kernel_warning import VARYING, KernelWarning
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.results import ModuleEntry, Results
from kbtf_ci.model.usable import Unusable

_Item = TypeVar("_Item")
_VMLINUX: Final = "vmlinux"
# The kernel names types in quotes, or behind a number in brackets.
_NAMED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]")
_VERDICT: Final = "failed to validate module ["


@dataclass(frozen=True)
class Cause:
    """One reason, and all that it befell.

    ``modules`` are by name, none for a cause of the kernel as a whole. ``counts``: whether it ends the run
    with 1. ``lines`` are the kernel's, of the first module that has some; ``explanation`` is for a person, ""
    where there is none. ``outcomes`` says how many of the modules came to which.
    """

    title: str
    counts: bool
    modules: tuple[str, ...] = ()
    outcomes: Mapping[str, int] | None = None
    lines: tuple[str, ...] = ()
    explanation: str = ""


def causes(results: Results) -> tuple[Cause, ...]:
    """Return the causes of all that is wrong, those that count first, and of these the most modules first."""
    found = [
        *_ended(results),
        *_of_modules(results),
        *_of_the_kernel(results),
        *_unusable(results),
        *_warnings(results),
        *_disagreements(results),
    ]
    return tuple(sorted(found, key=lambda one: (not one.counts, bool(one.modules), -len(one.modules))))


def _ended(results: Results) -> Iterator[Cause]:
    if results.ended:
        yield Cause("The run ended early", counts=True, lines=(results.ended,))
    elif not results.modules:
        yield Cause("There is no module to verify", counts=True)


def _of_modules(results: Results) -> Iterator[Cause]:
    faulty = [one for one in results.modules if one.outcome is not Outcome.VERIFIED or one.base_mismatch]
    for group in _grouped(faulty, _reason):
        first = next((one for one in group if _log(one)), group[0])
        yield Cause(
            title=_title(group[0]),
            counts=_counts(group, results),
            modules=tuple(one.name for one in group),
            outcomes=Counter(one.outcome.value for one in group),
            lines=_log(first),
            explanation=_advice(first),
        )


def _counts(group: Iterable[ModuleEntry], results: Results) -> bool:
    return results.counts(FailOn.BASE_MISMATCH) or any(one.outcome is not Outcome.VERIFIED for one in group)


def _reason(module: ModuleEntry) -> Hashable:
    """Return what modules that fail for one reason have in common."""
    if _is_explained(module):
        assert module.predicted is not None
        return "check", module.predicted.cause, _masked(module.predicted.advice, module.name)
    words = module.outcome is Outcome.REJECTED and next(
        (line for line in module.kernel_log if not line.startswith(_VERDICT)), ""
    )
    return module.outcome, _masked(module.reason, module.name), _masked(words or "", module.name)


def _is_explained(module: ModuleEntry) -> bool:
    """Whether the offline check came to the same, and knows why."""
    predicted = module.predicted
    return predicted is not None and bool(predicted.cause) and predicted.outcome is module.outcome


def _masked(text: str, module: str) -> str:
    if module in text:  # rarely: a pattern for each of thousands of names takes its time
        text = re.sub(rf"(?<!\w){re.escape(module)}(?!\w)", "#", text)
    return VARYING.sub("#", _NAMED.sub("#", text))


def _title(module: ModuleEntry) -> str:
    if _is_explained(module) and module.predicted is not None:
        return _sentence(module.predicted.cause)
    if module.outcome is Outcome.NOT_REACHED:
        return "Not reached: the run ended before them"
    return _sentence(module.reason) or module.outcome.value


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _advice(module: ModuleEntry) -> str:
    return module.predicted.advice if _is_explained(module) and module.predicted else ""


def _log(module: ModuleEntry) -> tuple[str, ...]:
    return module.kernel_log or ((module.base_mismatch,) if module.base_mismatch else ())


def _of_the_kernel(results: Results) -> Iterator[Cause]:
    for one in results.of_the_kernel:
        if one.finding != FailOn.UNUSABLE:  # told kfunc by kfunc
            yield Cause(_sentence(one.text), counts=one.counts, lines=_differences(results, one.finding))


def _differences(results: Results, finding: str) -> tuple[str, ...]:
    """Return how BPF programs did otherwise than predicted, a line each."""
    if finding != FailOn.PROOF:
        return ()
    proofs = (results.proof, results.kfunc_proof)
    return tuple(
        f"{one.module}:{one.function}: {one.expected} predicted, {one.seen}"
        for proof in proofs
        if proof is not None
        for one in proof.differences
    )


def _unusable(results: Results) -> Iterator[Cause]:
    found = [(_VMLINUX, one) for one in results.unusable]
    found += [(module.name, one) for module in results.modules for one in module.unusable]
    for group in _grouped(found, _rule):
        number = len(group)
        yield Cause(
            title=f"{number} kfunc{'s' if number > 1 else ''} that no BPF program can call",
            counts=results.counts(FailOn.UNUSABLE),
            modules=tuple(dict.fromkeys(owner for owner, _ in group)),
            lines=tuple(f"{owner}: {one.line}" for owner, one in group),
            explanation=group[0][1].way_out,
        )


def _rule(found: tuple[str, Unusable]) -> Hashable:
    return found[1].rule, found[1].way_out


def _warnings(results: Results) -> Iterator[Cause]:
    for group in _grouped(results.warned(), _warning):
        first = group[0][1]
        yield Cause(
            title=f"Kernel warning: {first.title}",
            counts=results.counts(FailOn.WARNING),
            modules=tuple(dict.fromkeys(module for module, _ in group if module)),
            lines=first.lines or (first.headline,),
        )


def _warning(found: tuple[str, KernelWarning]) -> Hashable:
    module, one = found
    return one.kind, _masked(one.headline, module) if module else VARYING.sub("#", one.headline)


def _disagreements(results: Results) -> Iterator[Cause]:
    if results.disagreements:
        yield Cause(
            title="The offline check predicted otherwise than the kernel did",
            counts=False,
            modules=results.disagreements,
            explanation="One of the two is wrong, and worth a report: results.json has both.",
        )


def _grouped(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> Iterator[list[_Item]]:
    """Yield what has the same key together, in the order of the first of each."""
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    yield from groups.values()
