# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The catalogue and its results, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from kbtf_ci.model.case import CaseFacts, Expectation, Expected
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.model.repro import CaseResult, Observed
from kbtf_ci.report.repro import Head, catalogue, catalogue_document, document, page, text

LAST = "failed to validate module [<module>] BTF: -22"
REFUSED = Expected(Outcome.REJECTED, 22, ("BPF: Invalid magic", LAST))
ALLOWED = Expected(Outcome.DROPPED, log=("BPF: Invalid magic",))
FACTS = CaseFacts(
    "bad-magic", 22, "the magic is wrong", "A broken disk.", "btf.c", Expectation(REFUSED, ALLOWED)
)
SEEN = ("noise", "BPF: Invalid magic", "failed to validate module [bad_magic] BTF: -22")
PREDICTED = Prediction("bad_magic", "bad.ko", Outcome.REJECTED, 22, "header.magic", cause="damaged")
OK = CaseResult(
    "bad-magic", 22, "bad_magic", REFUSED, Observed(Outcome.REJECTED, 22, SEEN),
    control=Outcome.VERIFIED, prediction=PREDICTED, seconds=0.012,
)  # fmt: skip
WRONG = replace(
    OK, name="loads", observed=Observed(Outcome.VERIFIED, sysfs=True), differs=True,
)  # fmt: skip
SKIPPED = CaseResult("on-a-tree", 3, "on_a_tree", Expected(Outcome.REJECTED), inapplicable="needs a tree")
HEAD = Head(KernelFacts("6.12.3", "c0", "130", "gcc 14"), False, "ext2", "tcg", 12.5)


def test_the_table_shows_both_sides_and_what_the_offline_check_says() -> None:
    lines = list(text(HEAD, [OK, WRONG, SKIPPED]))
    header, ok, wrong = lines[:3]
    assert header.split() == ["case", "class", "expected", "observed", "predicted"]
    assert ok.split() == [
        "bad-magic", "22", "REJECTED", "EINVAL", "(-22)", "REJECTED", "EINVAL", "(-22)", "ok",
        "REJECTED", "EINVAL", "(-22)", "(damaged)",
    ]  # fmt: skip
    assert wrong.split()[5:8] == ["VERIFIED", "WRONG", "otherwise:"]
    assert len({line.index("REJECTED") for line in (ok, wrong)}) == 1
    assert lines[-1] == "1 ok, 1 wrong, 1 do not apply"
    assert "the offline check said otherwise of loads" in lines
    assert "  on-a-tree (3): needs a tree" in lines


def test_a_wrong_case_shows_its_faults_and_the_lines_of_both_sides() -> None:
    lines = list(text(HEAD, [OK, WRONG]))
    start = lines.index("WRONG loads")
    assert lines[start + 1].startswith("    VERIFIED where REJECTED was expected")
    assert "        BPF: Invalid magic" in lines[start:]
    assert not any("WRONG bad-magic" in line for line in lines)


def test_the_json_has_the_schemas_keys() -> None:
    values = json.loads(json.dumps(document(HEAD, [OK, WRONG, SKIPPED])))
    assert values["schema"] == "kbtf-ci/repro/1"
    assert values["kernel"] == {
        "release": "6.12.3", "config_sha256": "c0", "pahole": "130", "compiler": "gcc 14",
        "allows_mismatch": False,
    }  # fmt: skip
    assert values["totals"] == {"cases": 3, "ok": 1, "wrong": 1, "inapplicable": 1}
    ok, wrong, skipped = values["cases"]
    assert (ok["name"], ok["class"], ok["ok"], ok["applicable"], ok["reason"]) == (
        "bad-magic", 22, True, True, "",
    )  # fmt: skip
    assert ok["expected"] == {
        "outcome": "REJECTED", "errno": -22, "kernel_log": ["BPF: Invalid magic", LAST], "sysfs": False,
        "vmlinux_differs": False, "build_log": [], "misdescribed": [], "uncallable": [],
    }  # fmt: skip
    assert ok["observed"] == {
        "outcome": "REJECTED", "errno": -22, "kernel_log": list(SEEN[1:]), "sysfs": False,
        "vmlinux_difference": "", "build_log": [], "misdescribed": [], "uncallable": [],
    }  # fmt: skip
    assert (ok["control"], ok["seconds"], ok["predicted"]["cause"]) == ("VERIFIED", 0.012, "damaged")
    assert (ok["predicted"]["differs"], wrong["predicted"]["differs"]) == (False, True)
    assert (wrong["ok"], wrong["observed"]["errno"]) == (False, None)
    assert "VERIFIED where REJECTED was expected" in wrong["reason"]
    assert (skipped["ok"], skipped["applicable"], skipped["observed"]) == (False, False, None)
    assert skipped["reason"] == "needs a tree"


def test_what_was_not_built_shows_what_make_was_to_say_and_how_it_ended() -> None:
    expected = Expected(None, build=("make: *** Error <number>",))
    said = ("  CC m.o", "make: *** Error 126", "make: Leaving directory")
    built = replace(OK, expected=expected, observed=Observed(None, build=said), prediction=None)
    (row,) = (line for line in text(HEAD, [built]) if line.startswith("bad-magic"))
    assert row.split() == ["bad-magic", "22", "not", "built", "not", "built", "ok"]
    entry = document(HEAD, [replace(built, build_seconds=1.5)])["cases"][0]
    assert (entry["expected"]["outcome"], entry["expected"]["build_log"]) == (None, list(expected.build))
    assert (entry["observed"]["outcome"], entry["observed"]["build_log"]) == (None, ["make: *** Error 126"])
    assert entry["build_seconds"] == 1.5
    other = replace(built, expected=replace(expected, build=("make: *** Error 1",)))
    lines = list(text(HEAD, [other]))
    assert "    its build did not say: make: *** Error 1" in lines
    assert "        make: Leaving directory" in lines
    facts = replace(FACTS, expected=Expectation(expected, expected))
    assert "    its build says: make: *** Error <number>" in list(page(facts))
    assert "expected: not built" in list(page(facts))


def test_a_page_has_the_story_the_source_and_both_expectations() -> None:
    lines = list(page(FACTS))
    assert lines[0] == "bad-magic: the magic is wrong"
    assert "  A broken disk." in lines
    assert "source: btf.c" in lines
    assert "expected: REJECTED EINVAL (-22), its file below /sys/kernel/btf not there" in lines
    assert any(line.startswith("expected with CONFIG_MODULE_ALLOW_BTF_MISMATCH=y: DROPPED") for line in lines)
    assert f"    {LAST}" in lines
    assert list(page(replace(FACTS, why_not="needs a tree")))[-1] == "not run: needs a tree"


def test_the_catalogue_is_a_line_a_case_and_as_json_all_of_it() -> None:
    assert list(catalogue([FACTS])) == ["bad-magic                        22  the magic is wrong"]
    (entry,) = catalogue_document([FACTS])["cases"]
    assert (entry["since"], entry["until"], entry["needs"]) == ("5.19", None, [])
    assert entry["expected_where_mismatch_is_allowed"]["outcome"] == "DROPPED"
