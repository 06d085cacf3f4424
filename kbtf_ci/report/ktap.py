# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""results.ktap: one line a module in the kernel's own test format (Documentation/dev-tools/ktap.rst)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kbtf_ci.model.outcome import ModuleResult, Outcome


def ktap(results: Sequence[ModuleResult]) -> str:
    """Return the document."""
    return "".join(f"{line}\n" for line in _lines(results))


def _lines(results: Sequence[ModuleResult]) -> Iterator[str]:
    yield "KTAP version 1"
    yield f"1..{len(results)}"
    for number, result in enumerate(results, 1):
        if result.outcome is Outcome.VERIFIED:
            yield f"ok {number} {result.module.name}"
            continue
        log = result.observation.log if result.observation else ()
        yield from (f"# {line}" for line in log)
        yield f"not ok {number} {result.module.name} # {result.outcome.value} {result.reason}".rstrip()
