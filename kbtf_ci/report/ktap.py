# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""results.ktap: one line a module in the kernel's own test format (Documentation/dev-tools/ktap.rst)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kbtf_ci.infra.text import printable
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.results import Fault, ModuleEntry, Results
from kbtf_ci.report.kernel_warning import NO_MODULE, plain


def ktap(results: Results) -> str:
    """Return the document, the kernel's warnings as diagnostic lines.

    Warnings of no module, where they count, are a test of their own, and so are findings of the whole kernel.
    """
    more = list(_more(results))
    lines = ["KTAP version 1", f"1..{len(results.modules) + len(more)}"]
    for number, module in enumerate(results.modules, 1):
        lines.extend(_module(number, module, results.fault(module)))
    lines.extend(_diagnostic(results.warnings))
    lines.extend(f"not ok {number} {text}" for number, text in enumerate(more, len(results.modules) + 1))
    return "".join(f"{line}\n" for line in lines)


def _module(number: int, module: ModuleEntry, fault: Fault | None) -> Iterator[str]:
    name = printable(module.name)
    if fault is not None:
        yield from (f"# {printable(line)}" for line in module.kernel_log)
    yield from _diagnostic(module.warnings)
    if fault is not None:
        yield f"not ok {number} {name} # {fault.kind} {printable(fault.text)}".rstrip()
    else:
        yield f"ok {number} {name}"


def _more(results: Results) -> Iterator[str]:
    if results.warnings and results.counts(FailOn.WARNING):
        yield f"{NO_MODULE} # WARNING {results.warnings[0].title}"
    yield from (f"{one.name} # {printable(one.text)}" for one in results.of_the_kernel if one.counts)


def _diagnostic(warnings: Sequence[KernelWarning]) -> Iterator[str]:
    for one in warnings:
        yield from (f"# {printable(line)}" for line in plain(one).splitlines())
