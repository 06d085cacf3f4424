# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""junit.xml: one test case a module, for CI systems.

It is valid by junit-10.xsd of Jenkins' xUnit plugin.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from kbtf_ci.infra.text import printable
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.results import Fault, ModuleEntry, Results
from kbtf_ci.report.kernel_warning import plain
from kbtf_ci.report.more_cases import MoreCase, more_cases

# Of what lies in no folder: some readers leave out a case whose class has no name.
_CLASS = "kbtf-ci"


def junit(results: Results) -> str:
    """Return the document. What was not reached or not read is an error, any other fault a failure.

    The kernel's warnings are output of their module's case, those of no module the suite's; where they count,
    they are failures, and those of no module a case of their own. So are findings of the whole kernel, and a
    run that ended early.
    """
    cases = [_case(module, results.fault(module)) for module in results.modules]
    cases += map(_more_case, more_cases(results))
    suite = ET.Element(
        "testsuite",
        name=printable(f"module BTF of {results.kernel.release}"),
        tests=str(len(cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
    )
    suite.extend(cases)
    if not results.counts(FailOn.WARNING):
        _add_output(suite, results.warnings)
    ET.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _case(module: ModuleEntry, fault: Fault | None) -> ET.Element:
    folder = printable(module.file).rpartition("/")[0].replace("/", ".")
    seconds = (module.load_us or 0) / 1e6
    case = ET.Element(
        "testcase", name=printable(module.name), classname=folder or _CLASS, time=f"{seconds:.6f}"
    )
    if fault is not None:
        _add_fault(case, fault, "\n".join((*module.kernel_log, *map(plain, module.warnings))))
    _add_output(case, module.warnings)
    return case


def _more_case(one: MoreCase) -> ET.Element:
    case = ET.Element("testcase", name=printable(one.name), classname=_CLASS)
    _add_fault(case, one.fault, "\n\n".join(map(plain, one.warnings)) or one.fault.text)
    _add_output(case, one.warnings)
    return case


def _add_output(element: ET.Element, warnings: Sequence[KernelWarning]) -> None:
    if warnings:
        ET.SubElement(element, "system-out").text = _text("\n\n".join(map(plain, warnings)))


def _add_fault(case: ET.Element, fault: Fault, text: str) -> None:
    kind = "error" if fault.unseen else "failure"
    element = ET.SubElement(case, kind, type=fault.kind, message=printable(fault.text))
    element.text = _text(text)


def _text(lines: str) -> str:
    """Return lines of the kernel's: XML 1.0 cannot hold all that is in them."""
    return "\n".join(map(printable, lines.split("\n")))
