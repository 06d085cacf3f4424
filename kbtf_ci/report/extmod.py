# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What came of an out-of-tree module in each way of building it: as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from kbtf_ci.infra.text import printable
from kbtf_ci.model.extmod import BuiltModule, WayResult
from kbtf_ci.model.outcome import errno_text

SCHEMA: Final = "kbtf-ci/module/1"
_TITLES: Final = ("vmlinux", "module", ".BTF", ".BTF.base", "kernel", "predicted")
_NUMBERS: Final = (2, 3)


def text(release: str, results: Sequence[WayResult]) -> Iterator[str]:
    """Yield a table of all modules in all ways, and then what make and the kernel said."""
    rows = [_TITLES, *(_row(found, one) for found in results for one in found.modules)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES))]
    for row in rows:
        cells = (
            f"{cell:>{width}}" if column in _NUMBERS else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
    for found in results:
        yield from _said(found)
    yield f"kernel {release}; sizes in bytes"


def _row(found: WayResult, one: BuiltModule) -> tuple[str, ...]:
    module, seen = one.result.module, one.result.observation
    errno = f" {errno_text(seen.errno)}" if seen and seen.errno else ""
    predicted = one.prediction
    cause = f" ({predicted.cause})" if predicted and predicted.cause else ""
    return (
        found.way.value,
        printable(module.name),
        f"{module.btf_bytes:,}",
        f"{module.base_bytes:,}",
        f"{one.result.outcome}{errno}",
        f"{predicted.outcome}{cause}" if predicted else "",
    )


def _said(found: WayResult) -> Iterator[str]:
    lines = [f"make: {line.strip()}" for line in found.build_lines if "Skipping" in line]
    for one in found.modules:
        if one.result.observation:
            lines += one.result.observation.log
    if lines:
        yield f"vmlinux {found.way}:"
        yield from (f"    {printable(line)}" for line in lines)


def document(release: str, results: Sequence[WayResult]) -> dict[str, Any]:
    """Return the JSON document; errno negative, None for none."""
    return {"schema": SCHEMA, "kernel": release, "ways": [_way(found) for found in results]}


def _way(found: WayResult) -> dict[str, Any]:
    return {
        "vmlinux": found.way.value,
        "build_log": list(found.build_lines),
        "run_directory": found.run_directory,
        "modules": [_entry(one) for one in found.modules],
    }


def _entry(one: BuiltModule) -> dict[str, Any]:
    module, seen, predicted = one.result.module, one.result.observation, one.prediction
    return {
        "name": module.name,
        "btf_bytes": module.btf_bytes,
        "base_bytes": module.base_bytes,
        "outcome": one.result.outcome.value,
        "errno": -seen.errno if seen and seen.errno else None,
        "kernel_log": list(seen.log) if seen else [],
        "load": seen.mode.value if seen else None,
        "predicted": None
        if predicted is None
        else {"outcome": predicted.outcome.value, "rule": predicted.rule, "cause": predicted.cause},
    }
