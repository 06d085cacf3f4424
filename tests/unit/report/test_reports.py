# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Collection, Sequence

import pytest

from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning, WarningKind
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import Death, LoadMode, ModuleResult, Observation, judge, with_warnings
from kbtf_ci.model.results import FindingEntry, Results
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.report.junit import junit
from kbtf_ci.report.ktap import ktap
from kbtf_ci.report.markdown import markdown
from kbtf_ci.report.results import GuestFacts, document
from kbtf_ci.report.summary import summary

KERNEL = KernelFacts("6.12.3", "c0", "130", "gcc 14")
GUEST = GuestFacts("tcg", 3.5, 9.25, boots=2)
XFS = Module("xfs", "kernel/fs/xfs/xfs.ko", 10, "aa")
IT87 = Module("it87", "kernel/drivers/hwmon/it87.ko", 20, "bb")
CUT = Module("cut", "kernel/lib/cut.ko", 30, "cc")
LOST = Module("lost", "kernel/lib/lost.ko", 40, "dd")
RESULTS = (
    judge(
        CUT,
        [
            Observation(
                "cut", LoadMode.REAL, 22, log=("BPF: \x1b|x", "failed to validate module [cut] BTF: -22")
            )
        ],
    ),
    judge(IT87, [Observation("it87", LoadMode.REAL, 19), Observation("it87", LoadMode.INERT, 0, 20, "bb")]),
    judge(LOST, []),
    judge(XFS, [Observation("xfs", LoadMode.REAL, 0, 10, "aa", load_us=2500)]),
)


def read(
    results: Sequence[ModuleResult],
    warnings: Sequence[KernelWarning] = (),
    fail_on: Collection[FailOn] = (),
    findings: Sequence[FindingEntry] = (),
) -> Results:
    """Return what was written of these, read."""
    values = document(KERNEL, GUEST, results, warnings=warnings, fail_on=fail_on, findings=findings)
    return Results.parse(json.dumps(values).encode())


def test_results_json_has_the_schemas_words() -> None:
    values = json.loads(json.dumps(document(KERNEL, GUEST, RESULTS, ended="QEMU was killed")))
    assert values["schema"] == "kbtf-ci/results/1"
    assert values["totals"] == {
        "modules": 4, "verified": 2, "mismatch": 0, "rejected": 1, "dropped": 0, "no_btf": 0,
        "load_failed": 0, "not_reached": 1, "unreadable": 0, "warnings": 0,
    }  # fmt: skip
    assert values["modes"] == {"real": 2, "inert": 1}
    assert values["ended"] == "QEMU was killed"
    cut, it87, lost, xfs = values["modules"]
    assert (cut["outcome"], cut["errno"], cut["kernel_log"][1]) == (
        "REJECTED", -22, "failed to validate module [cut] BTF: -22",
    )  # fmt: skip
    assert (it87["load"], it87["errno"], it87["earlier"]) == (
        "inert", None, [{"load": "real", "errno": -19, "death": None, "kernel_log": []}],
    )  # fmt: skip
    assert (lost["outcome"], lost["load"]) == ("NOT_REACHED", None)
    assert (xfs["btf_sha256"], xfs["sysfs_sha256"]) == ("aa", "aa")


def test_the_summary_names_every_fault_with_the_kernels_words() -> None:
    text = "\n".join(summary(KERNEL, GUEST, RESULTS, ended="QEMU was killed"))
    assert "REJECTED cut (kernel/lib/cut.ko) the kernel refused the BTF: EINVAL (-22)" in text
    assert "    failed to validate module [cut] BTF: -22" in text
    assert "NOT_REACHED lost" in text
    assert "the run ended early: QEMU was killed" in text
    assert "2 VERIFIED, 1 REJECTED, 1 NOT_REACHED" in text
    assert "2 boots" in text
    assert "xfs" not in text


def test_many_unreached_modules_are_counted() -> None:
    lost = [judge(Module(f"m{number}", f"m{number}.ko", 1, "aa"), []) for number in range(13)]
    assert "m9 and 3 more" in "\n".join(summary(KERNEL, None, lost))


def find(parent: ET.Element, path: str) -> ET.Element:
    found = parent.find(path)
    assert found is not None
    return found


def text_of(element: ET.Element) -> str:
    assert element.text is not None
    return element.text


def test_junit_is_well_formed_and_counts() -> None:
    suite = ET.fromstring(junit(read(RESULTS)))
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "4", "failures": "1", "errors": "1",
    }  # fmt: skip
    failure = find(suite, "testcase[@name='cut']/failure")
    assert failure.get("type") == "REJECTED"
    assert "failed to validate" in text_of(failure)
    assert find(suite, "testcase[@name='xfs']").get("time") == "0.002500"


def test_ktap_has_a_line_for_every_module() -> None:
    lines = ktap(read(RESULTS)).splitlines()
    assert lines[:2] == ["KTAP version 1", "1..4"]
    assert "not ok 1 cut # REJECTED the kernel refused the BTF: EINVAL (-22)" in lines
    assert "ok 4 xfs" in lines


def test_markdown_has_stages_and_faults() -> None:
    text = markdown(read(RESULTS), {"build": 12.34})
    assert "# Module BTF of 6.12.3: 2 of 4 verified" in text
    assert "| build | 12.3 |" in text
    assert "## Not reached: the run ended before them\n\n1 NOT_REACHED\n\nlost\n" in text


def test_a_death_is_in_the_results() -> None:
    died = judge(
        XFS,
        [
            Observation("xfs", LoadMode.REAL, death=Death.OOPS),
            Observation("xfs", LoadMode.INERT, 0, 10, "aa"),
        ],
    )
    assert document(KERNEL, GUEST, [died])["modules"][0]["earlier"][0]["death"] == "oops"


LOCKUP = "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [insmod:1]"
STALL = KernelWarning(WarningKind.SOFT_LOCKUP, LOCKUP, (LOCKUP, "RIP: 0010:spin+0x1/0x2 [xfs]"), "xfs", True)
IOREMAP = "WARNING: CPU: 0 PID: 1 at arch/x86/mm/ioremap.c:217 __ioremap_caller+0x2a9/0x370"
BOOT = KernelWarning(WarningKind.WARNING, IOREMAP, (IOREMAP, "\x1b[31m"))
OTHER = KernelWarning(WarningKind.BUG, "BUG: of another", ("BUG: of another",), "not_listed")
WARNED, OTHERS = with_warnings(RESULTS, [BOOT, STALL, OTHER, STALL])
HOST = "a host that gave it no time may be to blame"


def test_a_warning_goes_to_its_module_and_the_rest_to_none() -> None:
    assert [len(result.warnings) for result in WARNED] == [0, 0, 0, 1]
    assert WARNED[3].warnings[0].times == 2
    assert OTHERS == (BOOT, OTHER)


def test_results_json_names_every_warning_and_what_counts() -> None:
    values = json.loads(json.dumps(document(KERNEL, GUEST, WARNED, warnings=OTHERS)))
    assert values["totals"]["warnings"] == 3
    assert values["fail_on"] == ["base-mismatch", "proof", "unusable", "vmlinux-btf"]
    assert values["modules"][0]["warnings"] == []
    assert values["modules"][3]["warnings"] == [
        {"kind": "soft-lockup", "headline": LOCKUP, "lines": list(STALL.lines), "times": 2,
         "host_may_be_to_blame": True},
    ]  # fmt: skip
    boot, other = values["warnings"]
    assert (boot["module"], boot["kind"], boot["host_may_be_to_blame"]) == (None, "warning", False)
    assert other["module"] == "not_listed"
    assert values["modules"][3]["outcome"] == "VERIFIED"


def test_the_summary_names_warnings_with_their_first_lines() -> None:
    text = "\n".join(summary(KERNEL, GUEST, WARNED, warnings=OTHERS))
    assert "kernel warning of xfs (kernel/fs/xfs/xfs.ko): soft-lockup, 2 times; the guest is emulated" in text
    assert f"    {LOCKUP}\n    RIP: 0010:spin" in text
    assert f"kernel warning of no module: warning\n    {IOREMAP}" in text
    assert "kernel warning of not_listed: bug" in text
    assert text.endswith("2 VERIFIED, 1 REJECTED, 1 NOT_REACHED, 3 kernel warnings")
    assert text.count(HOST) == 1
    one = "\n".join(summary(KERNEL, GUEST, RESULTS, warnings=[BOOT]))
    assert one.endswith("1 NOT_REACHED, 1 kernel warning")
    assert "warning" not in "\n".join(summary(KERNEL, GUEST, RESULTS))


def test_markdown_has_the_warnings() -> None:
    text = markdown(read(WARNED, OTHERS), {})
    warning = "## Kernel warning: warning\n\ndoes not end the run with 1\n\n"
    assert f"{warning}    {IOREMAP}\n    \\x1b[31m\n" in text
    assert "## Kernel warning: soft-lockup, 2 times" in text
    assert f"\nxfs\n\n    {LOCKUP}\n" in text
    assert "Kernel warning" not in markdown(read(RESULTS), {})


@pytest.mark.parametrize("counted", [False, True])
def test_junit_has_warnings_as_output_and_where_they_count_as_failures(counted: bool) -> None:
    fail_on = [FailOn.WARNING] if counted else [FailOn.BASE_MISMATCH]
    suite = ET.fromstring(junit(read(WARNED, OTHERS, fail_on)))
    assert {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors")} == {
        "tests": 5 if counted else 4, "failures": 3 if counted else 1, "errors": 1,
    }  # fmt: skip
    xfs = find(suite, "testcase[@name='xfs']")
    assert LOCKUP in text_of(find(xfs, "system-out"))
    assert (xfs.find("failure") is not None) == counted
    place = find(suite, "testcase[@name='no module']") if counted else suite
    assert f"{IOREMAP}\n\\x1b[31m" in text_of(find(place, "system-out"))
    if counted:
        assert find(xfs, "failure").get("type") == "WARNING"
        assert HOST in find(xfs, "failure").attrib["message"]


@pytest.mark.parametrize("counted", [False, True])
def test_ktap_has_warnings_as_diagnostics_and_where_they_count_as_failures(counted: bool) -> None:
    lines = ktap(read(WARNED, OTHERS, [FailOn.WARNING] if counted else [])).splitlines()
    at = lines.index(f"# {LOCKUP}")
    assert lines[at - 1].startswith("# kernel warning: soft-lockup, 2 times; ")
    assert lines[1] == ("1..5" if counted else "1..4")
    assert any(line.startswith("not ok 4 xfs # WARNING soft-lockup") for line in lines) == counted
    assert ("ok 4 xfs" in lines) == (not counted)
    assert ("not ok 5 no module # WARNING warning" in lines) == counted
    assert f"# {IOREMAP}" in lines


def test_no_name_breaks_a_report() -> None:
    name = "two\nok 9 lines\x1b[31m" + b"\xfc".decode(errors="surrogateescape")
    odd = Module(name, f"kernel/{name}/{name}.ko", 0, "", fault="it is empty")
    results = (judge(odd, []), *RESULTS)
    ok = [line for line in ktap(read(results)).splitlines() if line.startswith(("ok", "not ok"))]
    assert len(ok) == len(results)
    assert ok[0].startswith(r"not ok 1 two\nok 9 lines\x1b[31m\xfc # UNREADABLE")
    lines = markdown(read(results), {}).splitlines()
    assert lines[lines.index("## It is empty") + 4] == r"`two\nok 9 lines\x1b[31m\xfc`"
    case = ET.fromstring(junit(read(results)).encode()).find("testcase")
    assert case is not None
    assert case.get("name") == r"two\nok 9 lines\x1b[31m\xfc"


ALTERED = VmlinuxSeen("aa", "bb", "byte 7 is 0x01 and not 0x00: of type [9] STRUCT\x1b[31m page")


def test_another_btf_of_vmlinux_in_memory_is_in_results_and_summary() -> None:
    values = document(KERNEL, GUEST, RESULTS, vmlinux=ALTERED)
    assert values["vmlinux"] == {"btf_sha256": "aa", "sysfs_sha256": "bb", "difference": ALTERED.difference}
    assert ALTERED.headline in list(summary(KERNEL, GUEST, RESULTS, vmlinux=ALTERED))


def test_a_fault_of_the_whole_kernel_stands_in_every_report() -> None:
    told = FindingEntry(finding="vmlinux-btf", name="vmlinux", text=ALTERED.headline, counts=True)
    results = read(RESULTS, findings=[told])
    lines = ktap(results).splitlines()
    assert lines[1] == f"1..{len(RESULTS) + 1}"
    assert any(line.startswith(f"not ok {len(RESULTS) + 1} vmlinux # ") for line in lines)
    suite = ET.fromstring(junit(results))
    failure = suite.find("testcase[@name='vmlinux']/failure")
    assert failure is not None
    assert failure.get("type") == "VMLINUX"
    page = markdown(results, {})
    assert "in memory than its image: byte 7" in page
    assert not any("\x1b" in line for line in (*lines, *page.splitlines()) if "memory" in line)


def test_the_same_btf_of_vmlinux_is_a_digest_and_no_words() -> None:
    same = VmlinuxSeen.of(b"btf", b"btf", "")
    values = document(KERNEL, GUEST, RESULTS, vmlinux=same)["vmlinux"]
    assert values["btf_sha256"] == values["sysfs_sha256"] != ""
    assert list(summary(KERNEL, GUEST, RESULTS, vmlinux=same)) == list(summary(KERNEL, GUEST, RESULTS))
    gone = VmlinuxSeen.of(b"btf", b"", "3 bytes")
    assert (gone.sysfs_sha256, gone.difference) == ("", "there is no /sys/kernel/btf/vmlinux")
