# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What tests a run comes to: one a module, and one for each thing that is wrong with all of the kernel. Pure.

A case fails where, and only where, what it is of ends ``kbtf-ci run`` with 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote

from kbtf_ci.infra.text import printable
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.results import Fault, ModuleEntry, Results
from kbtf_ci.report.kernel_warning import plain

_LINES: Final = 100  # of the kernel's, of one case; results.json has them all


@dataclass(frozen=True)
class Case:
    """One test: ``name`` is its part of the node id, ``title`` says it to a person.

    ``fault`` is the failure's text, "" for a pass; ``unseen``: of what was not observed, which is an error.
    ``notes`` is what was found and does not count. ``properties`` are for programs.
    """

    name: str
    title: str
    fault: str = ""
    unseen: bool = False
    notes: str = ""
    properties: tuple[tuple[str, str | int], ...] = ()
    keywords: frozenset[str] = frozenset()


def cases(results: Results) -> tuple[Case, ...]:
    """Return the tests of a run, each of another name."""
    found = [*(_of_module(results, module) for module in results.modules), *_of_the_kernel(results)]
    return tuple(_apart(found))


def node_name(text: str) -> str:
    """Return a name as a node id holds it: whatever steers pytest, a shell or a terminal is ``%XX``."""
    return quote(text, safe="+") or "%00"


def _apart(found: Iterable[Case]) -> Iterator[Case]:
    """Yield the cases; where several have one name, the others with ``-2``, ``-3`` behind it."""
    taken: set[str] = set()
    for case in found:
        name, number = case.name, 1
        while name in taken:
            number += 1
            name = f"{case.name}-{number}"
        taken.add(name)
        yield replace(case, name=name)


def _of_module(results: Results, module: ModuleEntry) -> Case:
    fault = results.fault(module)
    return Case(
        name=node_name(module.name),
        title=f"module {printable(module.name)}",
        fault=_text(fault, _body(module)) if fault else "",
        unseen=bool(fault and fault.unseen),
        notes="\n".join(_notes(results, module)),
        properties=tuple(_properties(module)),
        keywords=frozenset({module.outcome.value}),
    )


def _text(fault: Fault, body: Iterable[str]) -> str:
    first = ": ".join(one for one in (fault.kind, _WORDS.get(fault.kind, ""), fault.text) if one)
    return "\n".join(printable(line) for line in (first, *body))


# What of these outcomes may come without a reason, or with one that does not say what it means.
_WORDS: Final = {
    "NOT_REACHED": "the run ended before this module was loaded",
    "UNREADABLE": "the module's file cannot be read",
}


def _body(module: ModuleEntry) -> Iterator[str]:
    mode = f", loaded {module.load}" if module.load else ""
    yield f"{module.file}{mode}"
    for attempt in module.earlier:
        yield f"before that {attempt.load}: {attempt.death or attempt.errno or 'loaded'}"
    yield from _shortened([*module.kernel_log, *_warned(module)])
    predicted = module.predicted
    if predicted is not None and predicted.cause:
        yield f"-> {predicted.cause}: {predicted.advice}"


def _shortened(lines: list[str]) -> Iterator[str]:
    yield from (f"    {line}" for line in lines[:_LINES])
    if len(lines) > _LINES:
        yield f"    and {len(lines) - _LINES:,} more lines, in results.json"


def _warned(module: ModuleEntry) -> Iterator[str]:
    for one in module.warnings:
        yield from plain(one).splitlines()


def _notes(results: Results, module: ModuleEntry) -> Iterator[str]:
    """Yield what does not count, or counts for the kernel as a whole."""
    if module.base_mismatch and not results.counts(FailOn.BASE_MISMATCH):
        yield printable(f"loads, but its BTF is not of this vmlinux: {module.base_mismatch}")
    if not results.counts(FailOn.WARNING):
        yield from map(printable, _warned(module))
    for kfunc in module.unusable:
        yield printable(f"a kfunc that no BPF program can call: {kfunc.line}")


def _properties(module: ModuleEntry) -> Iterator[tuple[str, str | int]]:
    predicted = module.predicted
    values = {
        "outcome": module.outcome.value,
        "file": printable(module.file),
        "load": module.load,
        "btf_bytes": module.btf_bytes,
        "errno": module.errno,
        "load_us": module.load_us,
        "predicted": predicted.outcome.value if predicted else None,
        "kernel_warnings": len(module.warnings),
    }
    yield from ((f"kbtf_{name}", value) for name, value in values.items() if value is not None)


def _of_the_kernel(results: Results) -> Iterator[Case]:
    """Yield what is of no module. A dot keeps these names apart from every module's."""
    for one in results.of_the_kernel:
        yield _whole(one.name, one.text, counts=one.counts)
    if results.warnings:
        lines = [line for one in results.warnings for line in plain(one).splitlines()]
        text = "\n".join((f"WARNING: {results.warnings[0].title}", *_shortened(lines)))
        yield _whole("warnings", text, counts=results.counts(FailOn.WARNING))
    if results.ended or not results.modules:
        text = f"the run ended early: {results.ended}" if results.ended else "the run has no modules"
        yield replace(_whole("run", text, counts=True), unseen=True)


def _whole(name: str, text: str, *, counts: bool) -> Case:
    shown = "\n".join(map(printable, text.splitlines()))
    case = Case(f"kernel.{node_name(name)}", f"the kernel: {printable(name)}")
    return replace(case, fault=shown) if counts else replace(case, notes=shown)
