# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The catalogue of failures, what it says of one, and what came of running it: as text and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kbtf_ci.model.case import CaseFacts, Expected
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.outcome import errno_text
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.model.repro import NOT_BUILT, CaseResult, Observed, build_lines, lines_on_btf
from kbtf_ci.model.version import shown

SCHEMA: Final = "kbtf-ci/repro/1"
CATALOGUE_SCHEMA: Final = "kbtf-ci/repro-catalogue/1"
_WIDTH = 110
_TAIL = 10  # lines of a failed build's end that are shown


@dataclass(frozen=True)
class Head:
    """What cases were tried on: ``subject`` is the module that they are made of; ``accel`` "": no guest."""

    kernel: KernelFacts
    allows_mismatch: bool
    subject: str
    accel: str
    seconds: float


def catalogue(cases: Iterable[CaseFacts]) -> Iterator[str]:
    """Yield a line for each case."""
    for case in cases:
        yield f"{case.name:<32} {case.failure_class:>2}  {case.title}"


def catalogue_document(cases: Iterable[CaseFacts]) -> dict[str, Any]:
    """Return what the catalogue says as a JSON document."""
    return {"schema": CATALOGUE_SCHEMA, "cases": [_facts(case) for case in cases]}


def _facts(case: CaseFacts) -> dict[str, Any]:
    return {
        "name": case.name,
        "class": case.failure_class,
        "title": case.title,
        "story": case.story,
        "source": case.source,
        "since": shown(case.since),
        "until": shown(case.until) if case.until else None,
        "needs": sorted(case.needs),
        "reason": case.why_not,
        "expected": _expected(case.expected.refusing),
        "expected_where_mismatch_is_allowed": _expected(case.expected.allowing),
    }


def page(case: CaseFacts) -> Iterator[str]:
    """Yield all that the catalogue says of one case."""
    yield f"{case.name}: {case.title}"
    yield f"class {case.failure_class}, Linux {case.versions}"
    yield from (f"  {line}" for line in textwrap.wrap(case.story, _WIDTH))
    yield f"source: {case.source}"
    if case.why_not:
        yield f"not run: {case.why_not}"
        return
    refusing, allowing = case.expected.refusing, case.expected.allowing
    yield from _expectation("expected", refusing)
    if allowing != refusing:
        yield from _expectation("expected with CONFIG_MODULE_ALLOW_BTF_MISMATCH=y", allowing)


def _expectation(title: str, expected: Expected) -> Iterator[str]:
    there = "there" if expected.sysfs else "not there"
    where = f", its file below /sys/kernel/btf {there}" if expected.outcome else ""
    yield f"{title}: {_word(expected)}{where}"
    yield from (f"    its build says: {line}" for line in expected.build)
    if expected.vmlinux_differs:
        yield "    /sys/kernel/btf/vmlinux differs from the healthy image's .BTF"
    yield from (f"    {line}" for line in expected.log)


def text(head: Head, results: Sequence[CaseResult]) -> Iterator[str]:
    """Yield a table of the cases that were tried, what is wrong with one, and those that do not apply."""
    tried = [one for one in results if not one.inapplicable]
    if tried:
        yield from _table(tried)
    for one in tried:
        yield from _wrong(one)
    rest = [one for one in results if one.inapplicable]
    if rest:
        yield ""
        yield "do not apply:"
        yield from (f"  {one.name} ({one.failure_class}): {one.inapplicable}" for one in rest)
    yield ""
    yield from _totals(head, results)


def _table(results: Sequence[CaseResult]) -> Iterator[str]:
    rows = [("case", "class", "expected", "observed", "", "predicted"), *map(_row, results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (
            f"{cell:>{width}}" if column == 1 else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _row(one: CaseResult) -> tuple[str, ...]:
    observed = _word(one.observed) if one.observed else "nothing"
    return (
        one.name,
        str(one.failure_class),
        _word(one.expected),
        observed,
        "ok" if one.ok else "WRONG",
        _predicted(one),
    )


def _predicted(one: CaseResult) -> str:
    prediction = one.prediction
    if prediction is None:
        return ""
    word = "otherwise: " if one.differs else ""
    word += _word(prediction) + _misdescribed(one.misdescribed)
    cause = prediction.cause or ("unusable kfuncs" if prediction.unusable else "")
    return f"{word} ({cause})" if cause else word


def _word(one: Expected | Observed | Prediction) -> str:
    word = one.outcome.value if one.outcome else NOT_BUILT
    word = f"{word} {errno_text(one.errno)}" if one.errno else word
    if isinstance(one, Prediction):
        return word
    return word + _misdescribed(one.misdescribed) + _uncallable(one.uncallable)


def _misdescribed(functions: Sequence[str]) -> str:
    return f", {', '.join(functions)} misdescribed" if functions else ""


def _uncallable(kfuncs: Sequence[str]) -> str:
    return f", {', '.join(kfuncs)} uncallable" if kfuncs else ""


def _wrong(one: CaseResult) -> Iterator[str]:
    if one.ok:
        return
    yield ""
    yield f"WRONG {one.name}"
    yield from (f"    {fault}" for fault in one.faults)
    if one.observed is not None and one.observed.outcome is None:
        yield "    its build ended with:"
        yield from (f"        {line}" for line in one.observed.build[-_TAIL:])
    elif one.observed is not None:
        yield "    expected lines:"
        yield from (f"        {line}" for line in one.expected.log)
        yield "    observed lines:"
        found = lines_on_btf(one.observed.log, one.expected.log, one.module)
        yield from (f"        {line}" for line in found)


def _totals(head: Head, results: Sequence[CaseResult]) -> Iterator[str]:
    counts = _counts(results)
    allowed = ", CONFIG_MODULE_ALLOW_BTF_MISMATCH=y" if head.allows_mismatch else ""
    guest = f", in {head.accel}" if head.accel else ""
    control = next((one.control for one in results if one.control), None)
    untouched = f" (untouched: {control})" if control else ""
    subject = f"cases made of {head.subject}{untouched}"
    yield f"kernel {head.kernel.release}{allowed}: {subject}, {head.seconds:g} s{guest}"
    otherwise = [one.name for one in results if one.differs]
    if otherwise:
        yield f"the offline check said otherwise of {', '.join(otherwise)}"
    yield f"{counts['ok']} ok, {counts['wrong']} wrong, {counts['inapplicable']} do not apply"


def _counts(results: Sequence[CaseResult]) -> dict[str, int]:
    applicable = [one for one in results if not one.inapplicable]
    ok = sum(one.ok for one in applicable)
    return {
        "cases": len(results),
        "ok": ok,
        "wrong": len(applicable) - ok,
        "inapplicable": len(results) - len(applicable),
    }


def document(head: Head, results: Sequence[CaseResult]) -> dict[str, Any]:
    """Return the JSON document: an entry a case; errno negative, None for none."""
    kernel = head.kernel
    return {
        "schema": SCHEMA,
        "kernel": {
            "release": kernel.release,
            "config_sha256": kernel.config_sha256,
            "pahole": kernel.pahole,
            "compiler": kernel.compiler,
            "allows_mismatch": head.allows_mismatch,
        },
        "subject": head.subject,
        "accel": head.accel or None,
        "seconds": head.seconds,
        "totals": _counts(results),
        "cases": [_entry(one) for one in results],
    }


def _entry(one: CaseResult) -> dict[str, Any]:
    prediction = one.prediction
    return {
        "name": one.name,
        "class": one.failure_class,
        "ok": one.ok,
        "applicable": not one.inapplicable,
        "reason": one.inapplicable or "; ".join(one.faults),
        "expected": _expected(one.expected),
        "observed": _observed(one) if one.observed else None,
        "control": one.control.value if one.control else None,
        "predicted": None
        if prediction is None
        else {
            "outcome": prediction.outcome.value,
            "errno": -prediction.errno or None,
            "rule": prediction.rule,
            "base_mismatch": prediction.base_mismatch,
            "cause": prediction.cause,
            "advice": prediction.advice,
            "misdescribed": list(one.misdescribed),
            "unusable": [kfunc.kfunc for kfunc in prediction.unusable],
            "differs": one.differs,
        },
        "seconds": one.seconds,
        "build_seconds": one.build_seconds,
    }


def _expected(expected: Expected) -> dict[str, Any]:
    return {
        "outcome": expected.outcome and expected.outcome.value,
        "errno": -expected.errno or None,
        "kernel_log": list(expected.log),
        "sysfs": expected.sysfs,
        "vmlinux_differs": expected.vmlinux_differs,
        "build_log": list(expected.build),
        "misdescribed": list(expected.misdescribed),
        "uncallable": list(expected.uncallable),
    }


def _observed(one: CaseResult) -> dict[str, Any] | None:
    seen = one.observed
    if seen is None:
        return None
    return {
        "outcome": seen.outcome and seen.outcome.value,
        "errno": -seen.errno or None,
        "kernel_log": list(lines_on_btf(seen.log, one.expected.log, one.module)),
        "sysfs": seen.sysfs,
        "vmlinux_difference": seen.vmlinux_difference,
        "build_log": list(build_lines(seen.build, one.expected.build, one.module)),
        "misdescribed": list(seen.misdescribed),
        "uncallable": list(seen.uncallable),
    }
