# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

import json
import xml.etree.ElementTree as ET

from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import Death, LoadMode, Observation, judge
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


def test_results_json_has_the_schemas_words():
    values = json.loads(json.dumps(document(KERNEL, GUEST, RESULTS, ended="QEMU was killed")))
    assert values["schema"] == "kbtf-ci/results/1"
    assert values["totals"] == {
        "modules": 4, "verified": 2, "mismatch": 0, "rejected": 1, "dropped": 0, "no_btf": 0,
        "load_failed": 0, "not_reached": 1, "unreadable": 0,
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


def test_the_summary_names_every_fault_with_the_kernels_words():
    text = "\n".join(summary(KERNEL, GUEST, RESULTS, ended="QEMU was killed"))
    assert "REJECTED cut (kernel/lib/cut.ko) the kernel refused the BTF: EINVAL (-22)" in text
    assert "    failed to validate module [cut] BTF: -22" in text
    assert "NOT_REACHED lost" in text
    assert "the run ended early: QEMU was killed" in text
    assert "2 VERIFIED, 1 REJECTED, 1 NOT_REACHED" in text
    assert "2 boots" in text
    assert "xfs" not in text


def test_many_unreached_modules_are_counted():
    lost = [judge(Module(f"m{number}", f"m{number}.ko", 1, "aa"), []) for number in range(13)]
    assert "m9 and 3 more" in "\n".join(summary(KERNEL, None, lost))


def test_junit_is_well_formed_and_counts():
    suite = ET.fromstring(junit("6.12.3", RESULTS))
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "4", "failures": "1", "errors": "1",
    }  # fmt: skip
    failure = suite.find("testcase[@name='cut']/failure")
    assert failure.get("type") == "REJECTED"
    assert "failed to validate" in failure.text
    assert suite.find("testcase[@name='xfs']").get("time") == "0.002500"


def test_ktap_has_a_line_for_every_module():
    lines = ktap(RESULTS).splitlines()
    assert lines[:2] == ["KTAP version 1", "1..4"]
    assert "not ok 1 cut # REJECTED the kernel refused the BTF: EINVAL (-22)" in lines
    assert "ok 4 xfs" in lines


def test_markdown_has_stages_and_faults():
    text = markdown(KERNEL, {"build": 12.34}, RESULTS)
    assert "# Module BTF of 6.12.3: 2 of 4 verified" in text
    assert "| build | 12.3 |" in text
    assert "| lost | NOT_REACHED |" in text


def test_a_death_is_in_the_results():
    died = judge(
        XFS,
        [
            Observation("xfs", LoadMode.REAL, death=Death.OOPS),
            Observation("xfs", LoadMode.INERT, 0, 10, "aa"),
        ],
    )
    assert document(KERNEL, GUEST, [died])["modules"][0]["earlier"][0]["death"] == "oops"
