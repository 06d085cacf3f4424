# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from typing import Any

from kbtf_ci.model.cause import Cause, causes
from kbtf_ci.model.results import Results

RELINKED = {"outcome": "REJECTED", "cause": "relinked", "advice": "It was written against 9 types."}


def module(name: str, outcome: str = "VERIFIED", **more: Any) -> dict[str, Any]:
    return {"name": name, "file": f"kernel/{name}.ko", "outcome": outcome, "btf_bytes": 10, **more}


def rejected(name: str, words: str, **more: Any) -> dict[str, Any]:
    log = [f"BPF: {words}", f"failed to validate module [{name}] BTF: -22"]
    return module(name, "REJECTED", reason="the kernel refused the BTF: EINVAL (-22)", kernel_log=log, **more)


def found(*modules: dict[str, Any], **more: Any) -> list[Cause]:
    values = {"schema": "kbtf-ci/results/1", "kernel": {"release": "r"}, "modules": list(modules), **more}
    return list(causes(Results.of(values)))


def test_what_the_check_knows_is_one_cause_whatever_the_kernel_said() -> None:
    one, other = rejected("a", "[7] Invalid name", predicted=RELINKED), rejected("b", "[9] vlen != 0")
    other["predicted"] = RELINKED
    (cause,) = found(module("fine"), one, other)
    assert (cause.title, cause.modules, cause.counts) == ("Relinked", ("a", "b"), True)
    assert cause.explanation == RELINKED["advice"]
    assert cause.lines == tuple(one["kernel_log"])


def test_a_module_of_another_vmlinux_that_loads_counts_as_the_run_was_told() -> None:
    stale = {**RELINKED, "outcome": "VERIFIED", "base_mismatch": "type [5] is an int"}
    refused = rejected("b", "[9] vlen != 0", predicted=RELINKED)
    (both,) = found(module("a", predicted=stale), refused, fail_on=["base-mismatch"])
    assert both.outcomes == {"VERIFIED": 1, "REJECTED": 1}
    (alone,) = found(module("a", predicted=stale), fail_on=[])
    assert (alone.counts, alone.lines) == (False, ("type [5] is an int",))


def test_without_a_prediction_the_kernels_words_tell_causes_apart() -> None:
    modules = [
        rejected("a", "[7] STRUCT foo Invalid type_id"),
        rejected("b", "[12] STRUCT foo Invalid type_id"),
        rejected("c", "Invalid magic"),
    ]
    assert [cause.modules for cause in found(*modules)] == [("a", "b"), ("c",)]


def test_loads_that_fail_with_one_errno_are_one_cause() -> None:
    reason = "not loaded: ENODEV (-19)"
    modules = [module(name, "LOAD_FAILED", reason=reason, kernel_log=[f"{name}: no"]) for name in "abc"]
    other = module("d", "LOAD_FAILED", reason="not loaded: ENOENT (-2)")
    first, second = found(*modules, other)
    assert (first.title, first.modules) == ("Not loaded: ENODEV (-19)", ("a", "b", "c"))
    assert second.modules == ("d",)


def test_a_cause_that_names_its_module_is_the_same_for_others() -> None:
    reason = "loaded, but there is no /sys/kernel/btf/"
    (cause,) = found(*(module(name, "DROPPED", reason=reason + name) for name in ("xfs", "ext4")))
    assert cause.modules == ("xfs", "ext4")


def test_a_warning_under_many_modules_is_one_cause_and_counts_where_asked_for() -> None:
    def warning(line: int) -> dict[str, Any]:
        words = f"WARNING: CPU: {line} PID: {line} at mm/x.c:217"
        return {"kind": "warning", "headline": words, "lines": [words], "times": 1}

    modules = [module("a", warnings=[warning(1)]), module("b", warnings=[warning(2)])]
    (cause,) = found(*modules, warnings=[{"module": None, **warning(3)}], fail_on=["warning"])
    assert (cause.modules, cause.counts, cause.title) == (("a", "b"), True, "Kernel warning: warning")
    (mild,) = found(*modules, fail_on=[])
    assert not mild.counts


def test_kfuncs_that_break_one_rule_are_one_cause() -> None:
    def kfunc(name: str, rule: str) -> dict[str, Any]:
        return {"kfunc": name, "set": None, "rule": rule, "why": "no", "since": "7.0", "way_out": rule}

    unusable = [kfunc("f", "implicit"), kfunc("g", "implicit"), kfunc("h", "proto")]
    first, second = found(module("a", unusable=[kfunc("i", "implicit")]), unusable=unusable)
    assert first.title == "3 kfuncs that no BPF program can call"
    assert first.modules == ("vmlinux", "a")
    assert second.lines == ("vmlinux: h: no",)


def test_what_ended_the_run_comes_first_and_what_does_not_count_last() -> None:
    finding = {"finding": "vmlinux-btf", "name": "vmlinux", "text": "the kernel has another", "counts": True}
    told = found(
        *(module(name, "NOT_REACHED") for name in "abc"),
        ended="QEMU was killed",
        findings=[finding],
        disagreements=["a"],
    )
    assert [one.title for one in told] == [
        "The run ended early",
        "The kernel has another",
        "Not reached: the run ended before them",
        "The offline check predicted otherwise than the kernel did",
    ]
    assert [one.counts for one in told] == [True, True, True, False]


def test_a_run_with_nothing_wrong_has_no_cause() -> None:
    assert found(module("a"), module("b")) == []
