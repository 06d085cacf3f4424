# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""When a case is ok: outcome, errno, the lines on BTF, sysfs, and the untouched module before it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.case import ANY, CaseFacts, Expectation, Expected, Need, Traits
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.repro import CaseResult, Observed, agrees, exit_code, faults, lines_on_btf, pattern

LAST = "failed to validate module [<module>] BTF: -22"
EXPECTED = Expected(Outcome.REJECTED, 22, ("BPF: [<number>] FUNC <name> ", "BPF: Invalid name", LAST))
SEEN = ("BPF: [12] FUNC x.y ", "BPF: Invalid name", "failed to validate module [a_case] BTF: -22")
OBSERVED = Observed(Outcome.REJECTED, 22, SEEN, reason="the kernel refused the BTF: EINVAL (-22)")
RESULT = CaseResult("a-case", 1, "a_case", EXPECTED, OBSERVED, control=Outcome.VERIFIED)
KERNEL = Traits((6, 12), allows_mismatch=False, alterable=True)


def test_a_case_that_went_as_written_is_ok() -> None:
    assert RESULT.ok
    assert RESULT.faults == ()


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        (replace(OBSERVED, outcome=Outcome.VERIFIED), "VERIFIED where REJECTED was expected"),
        (replace(OBSERVED, errno=40), "errno ELOOP (-40) where EINVAL (-22) was expected"),
        (replace(OBSERVED, errno=0), "errno 0 where"),
        (replace(OBSERVED, sysfs=True), "/sys/kernel/btf/a_case is there"),
        (replace(OBSERVED, log=SEEN[1:]), "other lines"),
        (replace(OBSERVED, log=(*SEEN, "BPF: once more")), "other lines"),
        (replace(OBSERVED, log=(SEEN[1], SEEN[0], SEEN[2])), "other lines"),
        (replace(OBSERVED, log=(*SEEN[:2], SEEN[2].replace("a_case", "b"))), "other lines"),
        (replace(OBSERVED, vmlinux_difference="byte 7"), "vmlinux's BTF in memory: byte 7"),
        (replace(OBSERVED, misdescribed=("f", "g")), "find misdescribed: f, g where none was expected"),
        (replace(OBSERVED, uncallable=("k",)), "find uncallable: k where none was expected"),
    ],
)
def test_whatever_is_otherwise_is_a_fault_and_is_named(observed: Observed, words: str) -> None:
    result = replace(RESULT, observed=observed)
    assert not result.ok
    assert any(words in fault for fault in result.faults)


def test_what_vmlinux_should_differ_in_and_does_not_is_a_fault() -> None:
    expected = replace(EXPECTED, vmlinux_differs=True)
    assert list(faults(expected, OBSERVED, "a_case")) == ["vmlinux's BTF in memory: as in the image"]
    assert list(faults(expected, replace(OBSERVED, vmlinux_difference="byte 7"), "a_case")) == []


def test_lines_that_are_not_on_btf_are_no_matter() -> None:
    noise = ("clocksource: tsc", "a_case: loading out-of-tree module taints kernel.")
    assert list(faults(EXPECTED, replace(OBSERVED, log=(noise[0], *SEEN, noise[1])), "a_case")) == []
    assert lines_on_btf((*noise, *SEEN), (), "a_case") == SEEN
    assert lines_on_btf(noise, (noise[0],), "a_case") == noise[:1]
    others = "failed to validate module [virtio] BTF: -22"
    assert list(faults(EXPECTED, replace(OBSERVED, log=(others, *SEEN)), "a_case")) == []


def test_a_build_must_say_what_was_expected_in_that_order_and_may_say_more() -> None:
    expected = Expected(None, build=("first <number>", "second"))
    for said, fault in (
        (("first 1", "between", "second"), []),
        (("second", "first 1"), ["its build did not say: second"]),
        (("first x", "second"), ["its build did not say: first <number>"]),
    ):
        assert list(faults(expected, Observed(None, build=said), "m")) == fault
    loaded = Observed(Outcome.VERIFIED, build=("first 1", "second"))
    assert list(faults(expected, loaded, "m")) == ["VERIFIED where not built was expected (loaded)"]
    unbuilt = Observed(None, build=("first 1", "second"))
    assert "not built where VERIFIED was expected" in list(faults(Expected(Outcome.VERIFIED), unbuilt, "m"))


def test_places_stand_for_what_they_say_and_the_rest_is_literal() -> None:
    assert pattern("BPF: [<number>] Invalid btf_info:<hex>", "m").fullmatch(
        "BPF: [7] Invalid btf_info:4010002"
    )
    assert not pattern("BPF: [<number>]", "m").fullmatch("BPF: [7x]")
    assert not pattern("BPF: [<number>]", "m").fullmatch("BPF: 7")
    assert pattern("[<module>]", "a.b").fullmatch("[a.b]")
    assert not pattern("[<module>]", "a.b").fullmatch("[axb]")
    assert not pattern("<name>", "m").fullmatch("two words")
    assert pattern("<text>", "m").fullmatch("two words")


def test_any_stands_for_lines_or_none() -> None:
    assert agrees((ANY, "x"), ("a", "b", "x"), "m")
    assert agrees((ANY, "x"), ("x",), "m")
    assert agrees((ANY,), (), "m")
    assert not agrees((ANY, "x"), ("x", "a"), "m")
    assert not agrees((), ("x",), "m")


def test_without_its_control_or_without_a_word_no_case_is_ok() -> None:
    assert replace(RESULT, control=Outcome.DROPPED).faults == ("the untouched module is DROPPED",)
    assert replace(RESULT, control=None).faults == ("the untouched module is NOT_REACHED",)
    assert replace(RESULT, observed=None).faults == ("the guest ended before it",)
    assert replace(RESULT, observed=None, broken="no boot").faults == ("no boot",)


def test_what_does_not_apply_is_never_ok_and_no_fault() -> None:
    skipped = replace(RESULT, inapplicable="of another kernel")
    assert not skipped.ok
    assert skipped.faults == ()
    assert exit_code([RESULT, skipped]) is ExitCode.VERIFIED
    assert exit_code([skipped]) is exit_code([]) is ExitCode.NOT_VERIFIED
    assert exit_code([RESULT, replace(RESULT, control=None)]) is ExitCode.NOT_VERIFIED


def facts(**values: object) -> CaseFacts:
    base = CaseFacts(
        "a-case", 1, "title", "story", "source", Expectation(EXPECTED, Expected(Outcome.DROPPED))
    )
    return replace(base, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("case", "kernel", "reason"),
    [
        (facts(), KERNEL, ""),
        (facts(), replace(KERNEL, version=(5, 18)), "of Linux 5.19 and later"),
        (facts(until=(7, 0)), replace(KERNEL, version=(7, 1)), "of Linux 5.19 to 7.0"),
        (facts(until=(7, 0)), replace(KERNEL, version=(7, 0)), ""),
        (facts(needs=frozenset({Need.TREE}), why_not="a tree"), KERNEL, "a tree"),
        (facts(needs=frozenset({Need.ALTERABLE})), KERNEL, ""),
        (
            facts(needs=frozenset({Need.ALTERABLE})),
            replace(KERNEL, alterable=False),
            "its image unpacks itself",
        ),
        (facts(needs=frozenset({Need.MISMATCH})), KERNEL, "CONFIG_MODULE_ALLOW_BTF_MISMATCH is off"),
        (facts(needs=frozenset({Need.MISMATCH})), replace(KERNEL, allows_mismatch=True), ""),
        (facts(needs=frozenset({Need.LIVEPATCH})), KERNEL, "CONFIG_LIVEPATCH is off"),
        (
            facts(needs=frozenset({Need.NO_LIVEPATCH})),
            replace(KERNEL, livepatch=True),
            "CONFIG_LIVEPATCH is on",
        ),
    ],
)
def test_a_case_says_which_kernels_it_is_of(case: CaseFacts, kernel: Traits, reason: str) -> None:
    found = case.inapplicable(kernel)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_where_a_mismatch_is_allowed_the_other_expectation_holds_and_before_6_3_with_all_lines() -> None:
    expectation = facts().expected
    allowing = replace(KERNEL, allows_mismatch=True)
    assert expectation.under(KERNEL) == EXPECTED
    assert expectation.under(allowing) == Expected(Outcome.DROPPED)
    assert expectation.under(replace(allowing, version=(6, 2))) == Expected(Outcome.DROPPED, log=EXPECTED.log)
