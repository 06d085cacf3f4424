# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""results.ktap: one line a module in the kernel's own test format (Documentation/dev-tools/ktap.rst).

``tools/testing/kunit/kunit.py parse`` of a kernel tree counts in it what we do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from kbtf_ci.infra.text import printable
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.results import Fault, ModuleEntry, Results
from kbtf_ci.report.kernel_warning import plain
from kbtf_ci.report.more_cases import MoreCase, more_cases

# What the kernel's parser sees in diagnostic lines, too: the head of a nested test, and three messages that
# for it end the output (TEST_HEADER and KTAP_END of tools/testing/kunit/kunit_parser.py).
_SIGNS: Final = re.compile(
    r"(^Subtest|List of all partitions|Kernel panic - not syncing(?=: VFS:)|reboot(?=: System halted)):"
)


def ktap(results: Results) -> str:
    """Return the document, the kernel's warnings as diagnostic lines.

    Warnings of no module, where they count, are a test of their own, and so are findings of the whole kernel,
    and a run that ended early.
    """
    more = list(more_cases(results))
    lines = ["KTAP version 1", f"1..{len(results.modules) + len(more)}"]
    for number, module in enumerate(results.modules, 1):
        lines.extend(_module(number, module, results.fault(module)))
    lines.extend(_diagnostic(results.warnings))
    lines.extend(_more(number, one) for number, one in enumerate(more, len(results.modules) + 1))
    return "".join(f"{line}\n" for line in lines)


def _module(number: int, module: ModuleEntry, fault: Fault | None) -> Iterator[str]:
    if fault is not None:
        yield from map(_comment, module.kernel_log)
    yield from _diagnostic(module.warnings)
    yield f"ok {number} {_name(module.name)}" if fault is None else _not_ok(number, module.name, fault)


def _more(number: int, one: MoreCase) -> str:
    return _not_ok(number, one.name, one.fault)


def _not_ok(number: int, name: str, fault: Fault) -> str:
    """Return a line whose first word behind the hash is no directive of KTAP's, whatever the text is."""
    return f"not ok {number} {_name(name)} # {fault.kind} {_description(fault.text)}".rstrip()


def _name(text: str) -> str:
    """Return a description that is not empty, and whose start is not taken for the dash before one."""
    name = _description(text)
    if name[:1] == "-" or name[:1].isspace():
        name = f"\\u{ord(name[0]):04x}{name[1:]}"
    return name or "(no name)"


def _description(text: str) -> str:
    return _apart(text).replace("#", r"\x23")


def _diagnostic(warnings: Sequence[KernelWarning]) -> Iterator[str]:
    for one in warnings:
        yield from map(_comment, plain(one).splitlines())


def _comment(line: str) -> str:
    return f"# {_apart(line)}"


def _apart(text: str) -> str:
    """Return text as one line that has none of the signs."""
    return _SIGNS.sub(r"\1\\x3a", printable(text))
