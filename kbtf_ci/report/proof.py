# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What BPF programs came to, as values and as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from kbtf_ci.infra.text import printable
from kbtf_ci.model.kfunc_proof import KfuncAnswer, KfuncProof, KfuncState, RegisteredKfunc
from kbtf_ci.model.names import some
from kbtf_ci.model.proof import Difference, Proof

_MOST: Final = 20  # differences, and refusals, of a report that a person reads
_NAMES: Final = 10


def fentry_entry(proof: Proof) -> dict[str, Any]:
    """Return what fentry programs came to as a value for results.json."""
    return {
        "kind": "fentry",
        "cannot": proof.cannot or None,
        "ended": proof.ended or None,
        "modules": len(proof.modules),
        "functions": proof.functions,
        "as_predicted": {name.replace(" ", "_"): count for name, count in proof.counts.items()},
        "attached": proof.attached,
        "attached_functions": proof.attached_functions,
        "unreached": list(proof.unreached),
        "seconds": round(proof.seconds, 2),
        "differences": [vars(one).copy() for one in proof.differences],
    }


def kfunc_entry(proof: KfuncProof) -> dict[str, Any]:
    """Return what calls of kfuncs came to as a value for results.json."""
    return {
        "cannot": proof.cannot or None,
        "ended": proof.ended or None,
        "programs": list(proof.programs),
        "kfuncs": len(proof.answers),
        "callable": len(proof.of(KfuncState.CALLABLE)),
        "refused": [_refused(one) for one in proof.of(KfuncState.REFUSED)],
        "not_proven": [_named(one.kfunc) for one in proof.of(KfuncState.NOT_PROVEN)],
        "live": [vars(one).copy() | {"kfuncs": list(one.kfuncs)} for one in proof.live],
        "unreached": list(proof.unreached),
        "seconds": round(proof.seconds, 2),
        "differences": [vars(one).copy() for one in proof.differences],
    }


def _refused(one: KfuncAnswer) -> dict[str, Any]:
    return {
        **_named(one.kfunc),
        "program": one.program,
        "why": one.why,
        "predicted": one.kfunc.unusable or None,
    }


def _named(one: RegisteredKfunc) -> dict[str, Any]:
    return {"module": one.owner, "kfunc": one.name}


def fentry_lines(proof: Proof) -> Iterator[str]:
    """Yield what fentry programs came to, for a person."""
    if proof.headline:
        yield proof.headline
    yield from _differences(proof.differences)
    if proof.cannot:
        return
    counts = ", ".join(f"{count:,} {name}" for name, count in proof.counts.items() if count)
    yield (
        f"fentry: of {proof.functions:,} functions of {len(proof.modules)} modules as predicted: "
        f"{counts or 'none'}; attached to {proof.attached_functions:,} in {proof.attached} modules; "
        f"{proof.seconds:.1f} s"
    )
    if proof.unreached:
        yield f"fentry: not proven, for want of their code in a guest: {', '.join(proof.unreached)}"


def kfunc_lines(proof: KfuncProof) -> Iterator[str]:
    """Yield what calls of kfuncs came to, for a person."""
    if proof.headline:
        yield proof.headline
    yield from _differences(proof.differences)
    if proof.cannot:
        return
    refused, unknown = proof.of(KfuncState.REFUSED), proof.of(KfuncState.NOT_PROVEN)
    yield (
        f"kfuncs: of {len(proof.answers)} {len(proof.of(KfuncState.CALLABLE))} are callable, "
        f"{len(refused)} refused, {len(unknown)} not proven; {len(proof.live)} programs run; "
        f"{proof.seconds:.1f} s"
    )
    for one in refused[:_MOST]:
        yield f"    {_full(one.kfunc)} refused to programs of type {one.program}: {printable(one.why)}"
    if unknown:
        yield f"kfuncs not proven, for want of a program that may call them: {_some(unknown)}"
    if proof.unreached:
        yield f"kfuncs: not proven, for want of their code in a guest: {', '.join(proof.unreached)}"


def _differences(differences: Sequence[Difference]) -> Iterator[str]:
    for one in differences[:_MOST]:
        where = f"{printable(one.module)}:{printable(one.function)}"
        yield f"    {where}: {one.expected} predicted, {printable(one.seen)}"


def _some(answers: Sequence[KfuncAnswer]) -> str:
    return some([_full(one.kfunc) for one in answers], _NAMES)


def _full(kfunc: RegisteredKfunc) -> str:
    return f"{printable(kfunc.owner)}:{printable(kfunc.name)}"
