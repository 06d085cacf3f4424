# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every format of a run's results, read as its readers do: results of all shapes, and hostile text."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from itertools import islice, product
from typing import Any, NamedTuple

import pytest
from kcidb_io.schema import LATEST

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.text import printable
from kbtf_ci.model.cause import causes
from kbtf_ci.model.results import Results
from kbtf_ci.report.annotations import annotate
from kbtf_ci.report.html.run_page import run_page
from kbtf_ci.report.junit import junit
from kbtf_ci.report.kcidb import kcidb
from kbtf_ci.report.ktap import ktap
from kbtf_ci.report.markdown import markdown
from tests.support.job_runner import JobRunner
from tests.support.markdown import Page
from tests.support.pages import Page as HtmlPage
from tests.support.shapes import NASTY, RUN, SHAPES, Shape, module, results, warning

ORIGIN = "kernelci_lab"


class Counted(NamedTuple):
    passed: int
    failed: int
    errors: int


def read_kcidb(shown: Results) -> list[dict[str, Any]]:
    """Return what KernelCI reads of a run, by its own library's word."""
    document = json.loads(json.dumps(kcidb(shown, RUN, ORIGIN)))
    LATEST.validate_exactly(document)
    found: list[dict[str, Any]] = document["tests"]
    return found


def count_junit(shown: Results) -> Counted:
    suite = ET.fromstring(junit(shown).encode())
    failed, errors = int(suite.attrib["failures"]), int(suite.attrib["errors"])
    assert failed == len(suite.findall("testcase/failure"))
    assert errors == len(suite.findall("testcase/error"))
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
    return Counted(len(suite.findall("testcase")) - failed - errors, failed, errors)


def count_kcidb(shown: Results) -> Counted:
    status = [one["status"] for one in read_kcidb(shown)]
    return Counted(status.count("PASS"), status.count("FAIL"), status.count("MISS") + status.count("ERROR"))


@pytest.mark.parametrize("count", [count_junit, count_kcidb])
@pytest.mark.parametrize("name", SHAPES)
def test_each_reader_counts_what_the_run_came_to(name: str, count: Callable[[Results], Counted]) -> None:
    shape = SHAPES[name]
    assert count(shape.results) == (shape.passed, shape.failed, shape.errors)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_ktap_has_a_plan_and_as_many_results_in_order(shape: Shape) -> None:
    """As Documentation/dev-tools/ktap.rst has it; tests/e2e asks the kernel's own parser."""
    version, plan, *lines = ktap(shape.results).splitlines()
    assert (version, plan) == ("KTAP version 1", f"1..{shape.total}")
    told = [line for line in lines if not line.startswith("# ")]
    line_of = re.compile(r"(ok|not ok) (\d+) ([^#\s][^#]*?)( # (?!SKIP|TODO|XFAIL|TIMEOUT|ERROR)[A-Z_]+.*)?")
    found = [line_of.fullmatch(line.rstrip()) for line in told]
    assert all(found), told
    assert [int(one[2]) for one in found if one] == list(range(1, shape.total + 1))
    assert sum(one[1] == "ok" for one in found if one) == shape.passed
    assert not any(line.startswith("# Subtest:") for line in lines)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_there_is_an_error_where_the_run_has_not_passed_and_nowhere_else(shape: Shape) -> None:
    passed = shape.failed + shape.errors == 0
    assert shape.results.passed == passed
    runner = JobRunner().take(annotate(causes(shape.results)))
    assert ("error" in {one.name for one in runner.acted}) == (not passed)
    assert {one.name for one in runner.acted} <= {"error", "warning"}
    assert runner.shown == []


# Every format: the results -> all text that a reader of it sees. The HTML page has a place here.
def seen_in_junit(shown: Results) -> str:
    suite = ET.fromstring(junit(shown).encode())
    assert {one.tag for one in suite.iter()} <= {"testsuite", "testcase", "failure", "error", "system-out"}
    return "\n".join(text for one in suite.iter() for text in (one.text or "", *one.attrib.values()))


def seen_in_markdown(shown: Results) -> str:
    page = Page.of(markdown(shown, {"build": 1.0}))
    page.check()
    return page.text


def seen_in_annotations(shown: Results) -> str:
    runner = JobRunner().take(annotate(causes(shown)))
    assert runner.shown == []
    assert all(set(one.properties) == {"title"} for one in runner.acted)
    return "\n".join(text for one in runner.acted for text in (one.properties["title"], one.data))


def seen_in_kcidb(shown: Results) -> str:
    return "\n".join(
        text for one in read_kcidb(shown) for text in (one["comment"], one.get("log_excerpt", ""))
    )


def seen_in_html(shown: Results) -> str:
    page = HtmlPage.of(run_page(shown, None, None, "runs/latest"))
    assert page.elements["script"] == 2
    return page.text


SEEN: dict[str, Callable[[Results], str]] = {
    "JUnit": seen_in_junit,
    "KTAP": ktap,
    "markdown": seen_in_markdown,
    "annotations": seen_in_annotations,
    "KCIDB": seen_in_kcidb,
    "HTML": seen_in_html,
}
UNSAFE = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e\ud800-\udfff\ufffe\uffff]")


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
def test_hostile_text_is_told_as_it_is_and_is_nothing_else(seen: Callable[[Results], str]) -> None:
    name, console, log = "<script>alert(1)</script>", "\x1b[31mBPF: red\x1b[0m", "<b>BPF</b>: <a href='x'>"
    shown = results(module(name, "REJECTED", reason="refused", kernel_log=[console, log]))
    text = seen(shown)
    for one in (name, console, log):
        assert printable(one) in text
    assert UNSAFE.search(text) is None


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN)
@pytest.mark.parametrize("name", SHAPES)
def test_no_shape_breaks_a_format(name: str, seen: Callable[[Results], str]) -> None:
    assert UNSAFE.search(seen(SHAPES[name].results)) is None


def commands(results_of: Iterable[str]) -> list[tuple[str, str]]:
    return [(one.name, one.properties["title"]) for one in JobRunner().take(results_of).acted]


def test_a_cause_is_one_annotation_with_its_modules_and_the_kernels_lines() -> None:
    lines = ["BPF: 100%25 wrong%0A", "failed to validate module [a] BTF: -22"]
    refused = [module(name, "REJECTED", reason="refused, by: it", kernel_log=lines) for name in ("a", "b")]
    (one,) = JobRunner().take(annotate(causes(results(*refused)))).acted
    assert (one.name, one.properties) == ("error", {"title": "Refused, by: it"})
    assert one.data.splitlines() == ["2 REJECTED", "a, b", *lines]


@pytest.mark.parametrize(
    ("number", "last"), [(10, "Reason aaj"), (11, "2 more causes"), (2000, "1,991 more causes")]
)
def test_of_each_kind_there_are_ten_and_the_tenth_says_how_many_more(number: int, last: str) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"  # numbers do not tell causes apart
    names = ["".join(one) for one in islice(product(letters, repeat=3), number)]
    modules = [module(f"m_{i}", "NO_BTF", reason=f"reason {name}") for i, name in enumerate(names)]
    warned = [warning(f"W {name}") for name in names]
    found = commands(annotate(causes(results(*modules, warnings=warned))))
    assert [kind for kind, _ in found] == ["error"] * 10 + ["warning"] * 10
    assert found[9] == ("error", last)
    assert number == 10 or found[19] == ("warning", last)


def test_an_annotation_is_shorter_than_the_runner_takes() -> None:
    lines = ["\x1b" * 5000] * 50
    long = results(module("m" * 5000, "REJECTED", reason="r" * 5000, kernel_log=lines))
    (one,) = JobRunner().take(annotate(causes(long))).acted
    assert len(one.data) < 4096
    assert len(one.properties["title"]) <= 300


def test_kcidb_links_tests_build_and_checkout_and_says_what_is_known() -> None:
    document = kcidb(SHAPES["every outcome"].results, RUN, ORIGIN)
    (checkout,), (build,) = document["checkouts"], document["builds"]
    assert (checkout["comment"], checkout["valid"]) == ("Linux 6.12.3", True)
    assert build["checkout_id"] == checkout["id"]
    assert (build["architecture"], build["config_name"], build["duration"]) == ("x86_64", "smoke", 61.5)
    assert (build["status"], build["compiler"]) == ("PASS", "gcc (Debian) 14.2.0")
    tests = {one["path"]: one for one in document["tests"]}
    assert {one["build_id"] for one in tests.values()} == {build["id"]}
    status = {path.removeprefix("kbtf.m"): one["status"] for path, one in tests.items()}
    assert status == {
        "VERIFIED": "PASS", "MISMATCH": "FAIL", "REJECTED": "FAIL", "DROPPED": "FAIL", "NO_BTF": "FAIL",
        "LOAD_FAILED": "FAIL", "NOT_REACHED": "MISS", "UNREADABLE": "ERROR",
    }  # fmt: skip
    assert tests["kbtf.mNO_BTF"]["misc"]["outcome"] == "NO_BTF"
    assert tests["kbtf.mVERIFIED"]["start_time"] == RUN.started
    assert LATEST.count(document) == 10


def test_kcidbs_ids_are_the_same_for_the_same_results_alone() -> None:
    shape, other = SHAPES["every outcome"].results, SHAPES["all verified"].results
    assert len({one["build_id"] for one in (*read_kcidb(shape), *read_kcidb(other))}) == 1
    ids = [one["id"] for one in read_kcidb(shape)]
    assert len(set(ids)) == len(ids)
    assert ids == [one["id"] for one in read_kcidb(shape)]
    assert not set(ids) & {one["id"] for one in read_kcidb(other)}
    assert all(one.startswith(f"{ORIGIN}:") for one in ids)


def test_of_a_kernel_that_others_built_no_more_is_said_than_is_known() -> None:
    prebuilt = RUN.amended({"source": None, "started": "no time", "stages": {}})
    document = kcidb(SHAPES["all verified"].results, prebuilt, ORIGIN)
    LATEST.validate_exactly(document)
    assert "valid" not in document["checkouts"][0]
    assert "start_time" not in document["tests"][0]
    assert "duration" not in document["builds"][0]


@pytest.mark.parametrize("origin", ["", "KernelCI", "a-b", "a\n", "a:b", "ä"])
def test_an_origin_that_the_schema_does_not_take_is_refused(origin: str) -> None:
    with pytest.raises(UsageError, match="not the name of a CI system"):
        kcidb(SHAPES["all verified"].results, RUN, origin)


def test_the_summary_stays_below_what_github_takes() -> None:
    long = ("\U0001f4a9" * 20 + "`|<b>@x") * 20
    reasons = [f"{chr(0x4E00 + number)}{long}" for number in range(4300)]
    many = [module(f"|{one}", "NO_BTF", reason=one, kernel_log=[long] * 13) for one in reasons]
    page = markdown(results(*many, warnings=[]), {f"{number}{long}": 1.0 for number in range(4300)})
    assert len(page.encode()) < 1024 * 1024
    assert re.search(r"\nand 4,2\d\d more causes, in results.json and report.html\n", page)
    Page.of(page).check()


def test_many_modules_of_one_cause_are_named_up_to_a_number() -> None:
    page = markdown(results(*(module(f"m{n}", "NO_BTF", reason="none") for n in range(4300))), {})
    assert "m0, m1, " in page
    assert "m19 and 4,280 more" in page


def test_nasty_texts_are_all_there() -> None:
    assert len(set(NASTY)) == len(NASTY)
