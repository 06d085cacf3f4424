# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A diagnosis, as text for a person and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kbtf_ci.model.outcome import errno_text
from kbtf_ci.model.symptom import Cause, Diagnosis, Likelihood, Line, Proof, Refusal, Remark

SCHEMA = "kbtf-ci/diagnose/1"
_SHOWN_REFUSALS = 5
_SHOWN_CAUSES = 4
_SHOWN_LINES = 6


def document(found: Diagnosis) -> dict[str, Any]:
    """Return the JSON document."""
    return {
        "schema": SCHEMA,
        "conclusion": found.conclusion.name.lower(),
        "summary": found.summary,
        "boots": found.boots,
        "kernels": list(found.kernels),
        "refusals": [_refusal(one) for one in found.refusals],
        "causes": [_cause(one) for one in found.causes],
        "consequences": [_remark(one) for one in found.consequences],
        "elsewhere": [_remark(one) for one in found.elsewhere],
        "contradictions": [_remark(one) for one in found.contradictions],
        "missing": list(found.missing),
        "proofs": [_proof(one) for one in found.proofs],
    }


def _refusal(one: Refusal) -> dict[str, Any]:
    return {
        "module": one.module,
        "errno": -one.errno if one.errno else None,
        "checks": list(one.checks),
        "words": one.words,
        "times": one.times,
        "loaded": one.loaded,
        "lines": _lines(one.lines),
    }


def _cause(one: Cause) -> dict[str, Any]:
    return {
        "class": one.number,
        "name": one.name,
        "likelihood": one.likelihood.value,
        "why": list(one.why),
        "way_out": one.way_out,
        "tells_apart": one.tells_apart,
        "modules": list(one.modules),
        "boots": list(one.boots),
        "lines": _lines(one.lines),
    }


def _remark(one: Remark) -> dict[str, Any]:
    return {"text": one.text, "lines": _lines(one.lines)}


def _proof(one: Proof) -> dict[str, Any]:
    return {"module": one.module, "file": one.file, "text": one.text, "agrees": one.agrees}


def _lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [{"file": one.file, "line": one.number, "boot": one.boot, "text": one.text} for one in lines]


def text(found: Diagnosis, *, brief: bool = False) -> Iterator[str]:
    """Yield what a person reads; ``brief`` leaves out all but the conclusion and the first cause."""
    yield f"{found.summary}."
    if brief:
        return
    if found.boots > 1:
        yield f"{found.boots} boots in this text."
    yield from _shown_refusals(found)
    yield from _shown_causes(found)
    yield from _remarks("Follows from it:", found.consequences)
    yield from _remarks("No matter of BTF:", found.elsewhere)
    yield from _remarks("Against what is said there:", found.contradictions)
    if found.missing:
        yield ""
        yield "What would make it surer:"
        yield from (f"  - {one}" for one in found.missing)
    if found.proofs:
        yield ""
        yield "The offline check:"
        for one in found.proofs:
            yield f"  {_WORD[one.agrees]} {one.module} ({one.file}): {one.text}"


_WORD = {True: "confirms", False: "contradicts", None: "says of"}


def _shown_refusals(found: Diagnosis) -> Iterator[str]:
    for one in found.refusals[:_SHOWN_REFUSALS]:
        yield ""
        errno = f" {errno_text(one.errno)}" if one.errno else ""
        checks = f", by {' or '.join(one.checks)}" if one.checks else ""
        boot = f", boot {one.lines[0].boot}" if found.boots > 1 and one.lines else ""
        yield f"Refused: the BTF of {one.module or 'a module that is not named'}{errno}{checks}{boot}"
        yield from _quoted(one.lines)
    if len(found.refusals) > _SHOWN_REFUSALS:
        yield f"  and {len(found.refusals) - _SHOWN_REFUSALS} more"


def _shown_causes(found: Diagnosis) -> Iterator[str]:
    quoted = {line for one in found.refusals[:_SHOWN_REFUSALS] for line in one.lines}
    for rank, one in enumerate(found.causes[:_SHOWN_CAUSES], 1):
        yield ""
        yield f"{rank}. {one.likelihood.value}: {one.name} (class {one.number})"
        yield from (f"   why: {why}" for why in one.why)
        yield from _quoted([line for line in one.lines if line not in quoted])
        if one.likelihood is not Likelihood.HARMLESS:
            yield f"   tells it apart: {one.tells_apart}"
        yield f"   way out: {one.way_out}"
    rest = found.causes[_SHOWN_CAUSES:]
    if rest:
        yield ""
        yield f"Less likely: {'; '.join(f'{one.name} (class {one.number})' for one in rest)}"


def _remarks(title: str, remarks: Sequence[Remark]) -> Iterator[str]:
    if remarks:
        yield ""
        yield title
        for one in remarks:
            yield f"  - {one.text}"
            yield from _quoted(one.lines)


def _quoted(lines: Sequence[Line]) -> Iterator[str]:
    shown = [one for one in lines if one.text.strip() != "BPF:"]
    yield from (f"    {one.place}: {one.text}" for one in shown[:_SHOWN_LINES])
