# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel's warnings, in the words and shapes that every report shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.outcome import ModuleResult

NO_MODULE = "no module"


def entry(one: KernelWarning) -> dict[str, Any]:
    """Return one warning as results.json holds it."""
    return {
        "kind": one.kind.value,
        "headline": one.headline,
        "lines": list(one.lines),
        "times": one.times,
        "host_may_be_to_blame": one.host_may_be_to_blame,
    }


def by_owner(
    results: Sequence[ModuleResult], others: Sequence[KernelWarning]
) -> Iterator[tuple[str, KernelWarning]]:
    """Yield every warning with the module that it belongs to, ``NO_MODULE`` for those of none."""
    for result in results:
        yield from ((f"{result.module.name} ({result.module.file})", one) for one in result.warnings)
    yield from ((one.module or NO_MODULE, one) for one in others)


def plain(one: KernelWarning) -> str:
    """Return a warning as some lines of text."""
    return "\n".join((f"kernel warning: {one.title}", *one.lines))
