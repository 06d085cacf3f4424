# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""junit.xml: one test case a module, for CI systems."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from kbtf_ci.model.outcome import ModuleResult, Outcome

# XML 1.0 cannot hold these at all, and kernel logs can.
_FORBIDDEN = {code: "?" for code in range(32) if chr(code) not in "\t\n\r"}
# Of these the kernel has said nothing.
_ERRORS = (Outcome.NOT_REACHED, Outcome.UNREADABLE)


def junit(release: str, results: Sequence[ModuleResult]) -> str:
    """Return the document. What was not reached or not read is an error, any other fault a failure."""
    unreached = sum(result.outcome in _ERRORS for result in results)
    verified = sum(result.outcome is Outcome.VERIFIED for result in results)
    suite = ET.Element(
        "testsuite",
        name=f"module BTF of {release}",
        tests=str(len(results)),
        errors=str(unreached),
        failures=str(len(results) - verified - unreached),
    )
    for result in results:
        suite.append(_case(result))
    ET.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def _case(result: ModuleResult) -> ET.Element:
    seconds = result.observation.load_us / 1e6 if result.observation else 0.0
    folder = result.module.file.rpartition("/")[0].replace("/", ".")
    case = ET.Element("testcase", name=result.module.name, classname=folder, time=f"{seconds:.6f}")
    if result.outcome is not Outcome.VERIFIED:
        kind = "error" if result.outcome in _ERRORS else "failure"
        fault = ET.SubElement(
            case, kind, type=result.outcome.value, message=result.reason.translate(_FORBIDDEN)
        )
        log = result.observation.log if result.observation else ()
        fault.text = "\n".join(log).translate(_FORBIDDEN)
    return case
