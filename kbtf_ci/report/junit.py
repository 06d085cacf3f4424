# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""junit.xml: one test case a module, for CI systems."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from kbtf_ci.infra.text import printable
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.outcome import ModuleResult, Outcome
from kbtf_ci.report.kernel_warning import NO_MODULE, plain, title

# XML 1.0 cannot hold these at all, and kernel logs can.
_FORBIDDEN = {code: "?" for code in range(32) if chr(code) not in "\t\n\r"}
# Of these the kernel has said nothing.
_ERRORS = (Outcome.NOT_REACHED, Outcome.UNREADABLE)


def junit(
    release: str,
    results: Sequence[ModuleResult],
    warnings: Sequence[KernelWarning] = (),
    fail_on: Collection[FailOn] = DEFAULT_FAIL_ON,
    faults: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the document. What was not reached or not read is an error, any other fault a failure.

    The kernel's warnings are output of their module's case, those of no module (``warnings``) the suite's;
    where they count, they are failures, and those of no module a case of their own. So are ``faults`` of the
    whole kernel: what is at fault, and how, in a line.
    """
    counted = FailOn.WARNING in fail_on
    cases = [_case(result, counted=counted) for result in results]
    if warnings and counted:
        case = ET.Element("testcase", name=NO_MODULE, classname="")
        cases.append(_add_warnings(case, warnings, fails=True))
    for name, text in faults.items():
        cases.append(ET.Element("testcase", name=name, classname=""))
        _add_fault(cases[-1], "failure", name.upper(), text, text)
    suite = ET.Element(
        "testsuite",
        name=f"module BTF of {release}",
        tests=str(len(cases)),
        errors=str(sum(case.find("error") is not None for case in cases)),
        failures=str(sum(case.find("failure") is not None for case in cases)),
    )
    suite.extend(cases)
    if warnings and not counted:
        _add_warnings(suite, warnings, fails=False)
    ET.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _case(result: ModuleResult, *, counted: bool) -> ET.Element:
    seconds = result.observation.load_us / 1e6 if result.observation else 0.0
    folder = printable(result.module.file).rpartition("/")[0].replace("/", ".")
    case = ET.Element("testcase", name=printable(result.module.name), classname=folder, time=f"{seconds:.6f}")
    verified = result.outcome is Outcome.VERIFIED
    if not verified:
        log = result.observation.log if result.observation else ()
        kind = "error" if result.outcome in _ERRORS else "failure"
        _add_fault(case, kind, result.outcome.value, result.reason, "\n".join(log))
    return _add_warnings(case, result.warnings, fails=verified and counted)


def _add_warnings(element: ET.Element, warnings: Sequence[KernelWarning], *, fails: bool) -> ET.Element:
    text = "\n\n".join(plain(one) for one in warnings)
    if warnings and fails:
        _add_fault(element, "failure", "WARNING", title(warnings[0]), text)
    if warnings:
        ET.SubElement(element, "system-out").text = text.translate(_FORBIDDEN)
    return element


def _add_fault(case: ET.Element, kind: str, name: str, message: str, text: str) -> None:
    fault = ET.SubElement(case, kind, type=name, message=message.translate(_FORBIDDEN))
    fault.text = text.translate(_FORBIDDEN)
