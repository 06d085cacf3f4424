# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""summary.md: the summary for a pull request or a CI job's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from kbtf_ci.infra.text import printable
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.outcome import ModuleResult, Outcome
from kbtf_ci.report.kernel_warning import by_owner, title
from kbtf_ci.report.results import totals


def markdown(
    kernel: KernelFacts,
    stages: Mapping[str, float],
    results: Sequence[ModuleResult],
    warnings: Sequence[KernelWarning] = (),
    faults: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the document: totals, seconds of each stage, a row for every fault, the kernel's warnings.

    ``warnings`` are those of no module, ``faults`` those of the whole kernel: what is at fault, and how.
    """
    whole = [line for text in faults.values() for line in ("", printable(text))]
    lines = (*_lines(kernel, stages, results), *whole, *_warnings(results, warnings))
    return "".join(f"{line}\n" for line in lines)


def _lines(
    kernel: KernelFacts, stages: Mapping[str, float], results: Sequence[ModuleResult]
) -> Iterator[str]:
    counts = totals(results)
    yield f"# Module BTF of {kernel.release}: {counts['verified']} of {counts['modules']} verified"
    yield ""
    yield f"pahole {kernel.pahole}, {kernel.compiler}"
    yield from ("", "| stage | seconds |", "| --- | ---: |")
    yield from (f"| {name} | {seconds:.1f} |" for name, seconds in stages.items())
    faults = [result for result in results if result.outcome is not Outcome.VERIFIED]
    if faults:
        yield from ("", "| module | outcome | reason |", "| --- | --- | --- |")
        yield from (
            f"| {_cell(fault.module.name)} | {fault.outcome.value} | {_cell(fault.reason)} |"
            for fault in faults
        )


def _warnings(results: Sequence[ModuleResult], others: Sequence[KernelWarning]) -> Iterator[str]:
    warned = list(by_owner(results, others))
    if warned:
        yield from ("", "## Kernel warnings")
    for owner, one in warned:
        yield from ("", f"**{owner}**: {title(one)}", "")
        yield from (f"    {line}" for line in one.lines)


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")
