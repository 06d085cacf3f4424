# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An out-of-tree module in several ways: the table, what was said, JSON, and what decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.extmod import BuiltModule, Way, WayResult, exit_code
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode, ModuleResult, Observation, Outcome
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.report.extmod import document, text

MODULE = Module("hello", "kbtf-ci-extra/hello.ko", 434, "ab")
GOOD = BuiltModule(
    ModuleResult(MODULE, Outcome.VERIFIED, observation=Observation("hello", LoadMode.REAL, 0)),
    Prediction("hello", MODULE.file, Outcome.VERIFIED),
)
BAD = BuiltModule(
    ModuleResult(
        MODULE,
        Outcome.REJECTED,
        observation=Observation("hello", LoadMode.REAL, 22, log=("BPF: \x1b[1m",)),
    ),
    Prediction("hello", MODULE.file, Outcome.REJECTED, 22, "name", cause="relinked"),
)
SKIPPED = "  Skipping BTF generation for /files/hello.ko due to unavailability of vmlinux"


def way(way: Way, *modules: BuiltModule, lines: tuple[str, ...] = ()) -> WayResult:
    return WayResult(way, lines, modules, f"runs/x/{way}")


def test_the_table_has_a_row_a_module_and_what_was_said_below() -> None:
    lines = list(text("6.12.1", [way(Way.SPLIT, GOOD), way(Way.WRONG, BAD, lines=("LD", SKIPPED))]))
    assert lines[1].split() == ["split", "hello", "434", "0", "VERIFIED", "VERIFIED"]
    assert lines[2].split() == [
        "wrong", "hello", "434", "0", "REJECTED", "EINVAL", "(-22)", "REJECTED", "(relinked)",
    ]  # fmt: skip
    assert lines[3] == "vmlinux wrong:"
    assert lines[4] == f"    make: {SKIPPED.strip()}"
    assert not any("\x1b" in line for line in lines)


def test_the_json_has_all_of_it() -> None:
    values = document("6.12.1", [way(Way.WRONG, BAD)])
    assert values["schema"] == "kbtf-ci/module/1"
    (one,) = values["ways"]
    assert (one["vmlinux"], one["run_directory"]) == ("wrong", "runs/x/wrong")
    (entry,) = one["modules"]
    assert (entry["outcome"], entry["errno"], entry["predicted"]["cause"]) == ("REJECTED", -22, "relinked")


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([way(Way.SPLIT, GOOD), way(Way.DISTILLED, GOOD)], ExitCode.VERIFIED),
        ([way(Way.WRONG, BAD), way(Way.ABSENT, BAD)], ExitCode.VERIFIED),
        ([way(Way.SPLIT, GOOD), way(Way.DISTILLED, BAD)], ExitCode.NOT_VERIFIED),
        ([way(Way.SPLIT, GOOD, BAD)], ExitCode.NOT_VERIFIED),
    ],
)
def test_only_ways_that_should_do_decide(results: list[WayResult], code: ExitCode) -> None:
    assert exit_code(results) is code


def test_a_module_that_no_guest_reached_has_no_errno() -> None:
    unseen = replace(GOOD, result=replace(GOOD.result, outcome=Outcome.NOT_REACHED, observation=None))
    assert document("6.12.1", [way(Way.SPLIT, unseen)])["ways"][0]["modules"][0]["load"] is None
    assert "NOT_REACHED" in list(text("6.12.1", [way(Way.SPLIT, unseen)]))[1]
