# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""junit.xml: one test case a module, for CI systems."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence

from kbtf_ci.infra.text import printable
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.results import Fault, ModuleEntry, Results
from kbtf_ci.report.kernel_warning import NO_MODULE, plain

# XML 1.0 cannot hold these at all, and kernel logs can.
_FORBIDDEN = {code: "?" for code in range(32) if chr(code) not in "\t\n\r"}


def junit(results: Results) -> str:
    """Return the document. What was not reached or not read is an error, any other fault a failure.

    The kernel's warnings are output of their module's case, those of no module the suite's; where they count,
    they are failures, and those of no module a case of their own. So are findings of the whole kernel.
    """
    cases = [_case(module, results.fault(module)) for module in results.modules]
    cases += _more_cases(results)
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
    case = ET.Element("testcase", name=printable(module.name), classname=folder, time=f"{seconds:.6f}")
    if fault is not None:
        _add_fault(case, fault, "\n".join((*module.kernel_log, *map(plain, module.warnings))))
    _add_output(case, module.warnings)
    return case


def _more_cases(results: Results) -> Iterator[ET.Element]:
    """Yield the cases of what is of no module and counts."""
    if results.warnings and results.counts(FailOn.WARNING):
        case = ET.Element("testcase", name=NO_MODULE, classname="")
        _add_fault(
            case, Fault("WARNING", results.warnings[0].title), "\n\n".join(map(plain, results.warnings))
        )
        _add_output(case, results.warnings)
        yield case
    for one in results.of_the_kernel:
        if one.counts:
            case = ET.Element("testcase", name=one.name, classname="")
            _add_fault(case, Fault(one.name.upper(), one.text), one.text)
            yield case


def _add_output(element: ET.Element, warnings: Sequence[KernelWarning]) -> None:
    if warnings:
        text = "\n\n".join(map(plain, warnings))
        ET.SubElement(element, "system-out").text = text.translate(_FORBIDDEN)


def _add_fault(case: ET.Element, fault: Fault, text: str) -> None:
    element = ET.SubElement(
        case,
        "error" if fault.unseen else "failure",
        type=fault.kind,
        message=fault.text.translate(_FORBIDDEN),
    )
    element.text = text.translate(_FORBIDDEN)
