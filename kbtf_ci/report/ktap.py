# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""results.ktap: one line a module in the kernel's own test format (Documentation/dev-tools/ktap.rst)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

from kbtf_ci.infra.text import printable
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.outcome import ModuleResult, Outcome
from kbtf_ci.report.kernel_warning import NO_MODULE, plain, title


def ktap(
    results: Sequence[ModuleResult],
    warnings: Sequence[KernelWarning] = (),
    fail_on: Collection[FailOn] = DEFAULT_FAIL_ON,
    faults: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the document, the kernel's warnings as diagnostic lines.

    ``warnings`` are those of no module; where they count, they are a test of their own, and so are
    ``faults`` of the whole kernel: what is at fault, and how, in a line.
    """
    counted = FailOn.WARNING in fail_on
    more = [f"{NO_MODULE} # WARNING {title(warnings[0])}"] if warnings and counted else []
    more += [f"{name} # {printable(text)}" for name, text in faults.items()]
    lines = ["KTAP version 1", f"1..{len(results) + len(more)}"]
    for number, result in enumerate(results, 1):
        lines.extend(_result(number, result, counted=counted))
    lines.extend(_diagnostic(warnings))
    lines.extend(f"not ok {number} {text}" for number, text in enumerate(more, len(results) + 1))
    return "".join(f"{line}\n" for line in lines)


def _result(number: int, result: ModuleResult, *, counted: bool) -> Iterator[str]:
    name = printable(result.module.name)
    if result.outcome is not Outcome.VERIFIED:
        log = result.observation.log if result.observation else ()
        yield from (f"# {line}" for line in log)
    yield from _diagnostic(result.warnings)
    if result.outcome is not Outcome.VERIFIED:
        yield f"not ok {number} {name} # {result.outcome.value} {result.reason}".rstrip()
    elif result.warnings and counted:
        yield f"not ok {number} {name} # WARNING {title(result.warnings[0])}"
    else:
        yield f"ok {number} {name}"


def _diagnostic(warnings: Sequence[KernelWarning]) -> Iterator[str]:
    for one in warnings:
        yield from (f"# {line}" for line in plain(one).splitlines())
