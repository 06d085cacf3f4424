# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""summary.md: the summary for a pull request or a CI job's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.outcome import ModuleResult, Outcome
from kbtf_ci.report.results import totals


def markdown(kernel: KernelFacts, stages: Mapping[str, float], results: Sequence[ModuleResult]) -> str:
    """Return the document: totals, the time of each stage in seconds, and a row for every fault."""
    return "".join(f"{line}\n" for line in _lines(kernel, stages, results))


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
            f"| {fault.module.name} | {fault.outcome.value} | {_cell(fault.reason)} |" for fault in faults
        )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
