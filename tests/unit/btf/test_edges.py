# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every hand-made BTF on both sides of a limit, held offline against what the kernel's source says of it.

tests/e2e/test_fuzz.py puts the same before a kernel; here no guest is needed, so each change is told at once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from kbtf_ci.btf.rules.check import RULES, Kernel, Verdict, check
from kbtf_ci.btf.rules.versions import Rules
from tests.support import sketch as sk
from tests.support.edges import OUT_OF_REACH, Edge, edges
from tests.support.pair import split
from tests.support.smallbase import small_base
from tests.support.vmlinux import Vmlinux

LINUX_6_12 = Rules.for_version((6, 12))


@pytest.fixture(scope="module")
def verdicts() -> list[tuple[Edge, Verdict]]:
    base = small_base().bytes()
    kernel = Kernel.open(base, LINUX_6_12)
    return [(edge, check(kernel, "m", edge.mutant.btf, edge.mutant.base)) for edge in edges(Vmlinux(base))]


def test_errno_words_and_rule_are_those_of_the_kernels_source(verdicts: list[tuple[Edge, Verdict]]) -> None:
    wrong = [
        (edge.mutant.text, edge.errno, edge.rule, edge.words, verdict.errno, verdict.rule, verdict.log)
        for edge, verdict in verdicts
        if verdict.rule != edge.rule or not edge.agrees(verdict.errno, verdict.log)
    ]
    assert wrong == []
    assert len(verdicts) > 400


def test_every_rule_decides_at_least_once_but_those_that_are_named(
    verdicts: list[tuple[Edge, Verdict]],
) -> None:
    decided = Counter(verdict.rule for _, verdict in verdicts)
    assert set(RULES) - set(decided) == set(OUT_OF_REACH)


def test_what_is_accepted_stands_in_sysfs_and_what_is_refused_does_not(
    verdicts: list[tuple[Edge, Verdict]],
) -> None:
    for edge, verdict in verdicts:
        assert (verdict.sysfs is None) == (bool(edge.rule) or not edge.mutant.btf), edge.mutant.text


@pytest.mark.parametrize(("kind", "rule"), [(sk.ENUM, "enum.kflag"), (sk.ENUM64, "enum64.kflag")])
def test_a_signed_enum_is_refused_where_kernels_do_not_know_it(kind: int, rule: str) -> None:
    """No mainline kernel that knows ENUM64 refuses it; one to which ENUM64 was brought may."""
    old = replace(LINUX_6_12, enum_kflag=False)
    base = small_base()
    one = split(base)
    one.add(kind, 0, 4, kflag=1)
    verdict = check(Kernel.open(base.bytes(), old), "m", one.bytes())
    assert (verdict.errno, verdict.rule) == (22, rule)
    assert "BPF: Invalid btf_info kind_flag" in verdict.log


@pytest.mark.parametrize(("size", "rule"), [(4, ""), (0, "relocate.empty_name")])
def test_an_empty_name_in_vmlinux_meets_the_distilled_void(size: int, rule: str) -> None:
    """Void goes by that name too, and has size 0, to which an INT's must be equal."""
    base = small_base()
    odd = base.add(sk.INT, base.string(""), size, 0)
    distilled = sk.Sketch(strings=bytearray(b"\0"))
    distilled.add(sk.INT, distilled.string("int"), 4, 1 << 24 | 32)
    one = sk.Sketch(distilled.end_id, len(distilled.strings))
    verdict = check(Kernel.open(base.bytes(), LINUX_6_12), "m", one.bytes(), distilled.bytes())
    assert verdict.rule == rule
    words = f"base BTF id [{odd}] maps to invalid distilled base BTF id [0]"
    assert (words in verdict.log) == bool(rule)


def test_a_kernel_whose_own_btf_is_refused_refuses_without_a_word_of_it() -> None:
    base = small_base()
    verdict = check(Kernel.open(base.bytes()[:-1], LINUX_6_12), "m", split(base).bytes())
    assert (verdict.errno, verdict.rule) == (22, "vmlinux.missing")
    assert verdict.log == ("failed to validate module [m] BTF: -22",)
