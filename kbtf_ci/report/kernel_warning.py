# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel's warnings, in the words and shapes that every report shares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.outcome import ModuleResult

NO_MODULE = "no module"
_HOST = "; the guest is emulated, and a host that gave it no time may be to blame"


def entry(one: KernelWarning) -> dict[str, Any]:
    """Return one warning as results.json holds it."""
    return {
        "kind": one.kind.value,
        "headline": one.headline,
        "lines": list(one.lines),
        "times": one.times,
        "host_may_be_to_blame": one.host_may_be_to_blame,
    }


def title(one: KernelWarning) -> str:
    """Return its kind, how often it came, and whether the host may have done it."""
    times = f", {one.times} times" if one.times > 1 else ""
    return f"{one.kind.value}{times}{_HOST if one.host_may_be_to_blame else ''}"


def by_owner(
    results: Sequence[ModuleResult], others: Sequence[KernelWarning]
) -> Iterator[tuple[str, KernelWarning]]:
    """Yield every warning with the module that it belongs to, ``NO_MODULE`` for those of none."""
    for result in results:
        yield from ((f"{result.module.name} ({result.module.file})", one) for one in result.warnings)
    yield from ((one.module or NO_MODULE, one) for one in others)


def plain(one: KernelWarning) -> str:
    """Return a warning as some lines of text."""
    return "\n".join((f"kernel warning: {title(one)}", *one.lines))
