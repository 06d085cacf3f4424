# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which tests a run comes to, and what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kbtf_ci.errors import GuestError
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.model.proof import Proof
from kbtf_ci.model.results import Results
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.pytest_plugin.cases import Case, cases, node_name
from tests.support import runs

HOSTILE = ["<script>", "a\nb", "a[b]", "a::b", "::()", "\x1b[31mred", "ü", "a b", "", "\udc80", "a/../b"]
STALE = Prediction("xfs", "kernel/xfs.ko", Outcome.VERIFIED, base_mismatch="type 1 is another", cause="moved")


def found(folder: Path, *results: Any, **more: Any) -> dict[str, Case]:
    folder = runs.written(folder, *results, **more)
    made = cases(Results.parse((folder / "results.json").read_bytes()))
    by_name = {one.name: one for one in made}
    assert len(by_name) == len(made)
    return by_name


def test_a_verified_module_passes_and_says_how(tmp_path: Path) -> None:
    case = found(tmp_path, runs.good("xfs"))["xfs"]
    assert (case.fault, case.notes, case.title) == ("", "", "module xfs")
    told = dict(case.properties)
    assert (told["kbtf_outcome"], told["kbtf_btf_bytes"], told["kbtf_load"]) == ("VERIFIED", 10, "real")


def test_a_refused_one_fails_with_the_kernels_lines_and_the_diagnosis(tmp_path: Path) -> None:
    prediction = Prediction("xfs", "kernel/xfs.ko", Outcome.REJECTED, cause="relinked", advice="build again")
    refused = runs.refused("xfs", "BPF: [7] FUNC a", "BPF: Invalid name")
    case = found(tmp_path, refused, predictions=(prediction,))["xfs"]
    assert not case.unseen
    assert case.fault.splitlines() == [
        "REJECTED: the kernel refused the BTF: EINVAL (-22)",
        "kernel/xfs.ko, loaded real",
        "    BPF: [7] FUNC a",
        "    BPF: Invalid name",
        "    failed to validate module [xfs] BTF: -22",
        "-> relinked: build again",
    ]


def test_what_was_not_observed_is_an_error_in_words(tmp_path: Path) -> None:
    by_name = found(tmp_path, runs.unreached("a"), runs.unreadable("b"), error=GuestError("it panicked"))
    assert by_name["a"].fault.startswith("NOT_REACHED: the run ended before this module was loaded\n")
    assert by_name["b"].fault.startswith("UNREADABLE: the module's file cannot be read: cut short\n")
    assert by_name["kernel.run"].fault == "the run ended early: it panicked"
    assert all(case.unseen for case in by_name.values())


def test_what_does_not_count_passes_and_is_noted(tmp_path: Path) -> None:
    warnings = [runs.warning("xfs"), runs.warning()]
    by_name = found(tmp_path, runs.good("xfs"), warnings=warnings, fail_on=[], predictions=(STALE,))
    assert sorted(by_name) == ["kernel.warnings", "xfs"]
    for case in by_name.values():
        assert not case.fault
        assert runs.HEADLINE in case.notes
    assert "type 1 is another" in by_name["xfs"].notes


KERNEL = {"vmlinux": VmlinuxSeen("aa", "bb", "byte 7"), "proof": Proof(ended="a panic")}


@pytest.mark.parametrize("results", [(), (runs.good("xfs"),), (runs.good("xfs"), runs.refused("b"))])
@pytest.mark.parametrize("fail_on", [[], DEFAULT_FAIL_ON, list(FailOn)])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"warnings": [runs.warning("xfs")]},
        {"warnings": [runs.warning()]},
        {"predictions": (STALE,)},
        {"vmlinux": KERNEL["vmlinux"]},
        {"proof": KERNEL["proof"]},
        {"error": GuestError("it panicked")},
    ],
)
def test_a_test_fails_where_and_only_where_the_run_is_no_pass(
    tmp_path: Path, results: Any, fail_on: Any, more: dict[str, Any]
) -> None:
    failed = any(case.fault for case in found(tmp_path, *results, fail_on=fail_on, **more).values())
    assert failed != Results.parse((tmp_path / "results.json").read_bytes()).passed


def test_hostile_names_are_node_ids_apart_that_steer_nothing(tmp_path: Path) -> None:
    by_name = found(tmp_path, *(runs.refused(name, name) for name in HOSTILE))
    assert all(re.fullmatch(r"[A-Za-z0-9%._/+-]+", name) for name in by_name)
    for case in by_name.values():
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", case.fault)
        assert "\n" not in case.title


def test_names_of_modules_are_left_as_they_are() -> None:
    for name in ("xfs", "snd_hda_intel", "nf-nat", "a.b", "x86_64+"):
        assert node_name(name) == name


def test_of_two_modules_of_one_name_each_has_a_test(tmp_path: Path) -> None:
    assert sorted(found(tmp_path, runs.good("a"), runs.refused("a"), runs.good("a-2"))) == [
        "a",
        "a-2",
        "a-2-2",
    ]
