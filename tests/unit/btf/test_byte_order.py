# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A big-endian kernel says of a module's twin what a little-endian one says of the module.

Twins of all hand-made BTF and of seeded mutants, over the twin of one vmlinux: same errno, same words in the
log, the twin of the same bytes in sysfs, the same mismatch with the base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from kbtf_ci.btf.base_match.resolve import find_base_mismatch
from kbtf_ci.btf.base_match.targets import Targets
from kbtf_ci.btf.rules.check import Kernel, Verdict, check
from kbtf_ci.btf.rules.versions import Rules
from tests.support import sketch as sk
from tests.support.edges import edges
from tests.support.mutate import Mutant, mutants
from tests.support.smallbase import small_base, small_module
from tests.support.vmlinux import Vmlinux

LINUX_6_12 = Rules.for_version((6, 12))
BASE = small_base().bytes()
LITTLE = Kernel.open(BASE, LINUX_6_12)
BIG = Kernel.open(sk.turned(BASE), LINUX_6_12)
COUNT = 500


def told(kernel: Kernel, verdict: Verdict) -> tuple[object, ...]:
    """Everything that is said of a module, sysfs as it is on a big-endian machine."""
    sysfs, mismatch = verdict.sysfs, None
    if sysfs is not None and kernel is LITTLE:
        sysfs = sk.turned(sysfs)
    if verdict.btf is not None and kernel.vmlinux is not None:
        mismatch = find_base_mismatch(verdict.btf, Targets.of(kernel.vmlinux))
    said = (verdict.errno, verdict.refused, verdict.rule, verdict.log, verdict.unchecked)
    return (*said, sysfs, mismatch)


def differing(several: Iterable[Mutant]) -> tuple[list[str], Counter[str]]:
    """Return of which mutants the two say different things, and which rules decided how often."""
    wrong, rules = [], Counter[str]()
    for one in several:
        little = check(LITTLE, "m", one.btf, one.base)
        twin = one.turned()
        big = check(BIG, "m", twin.btf, twin.base)
        rules[little.rule] += 1
        if told(LITTLE, little) != told(BIG, big):
            wrong.append(f"{one.text}: {little.rule} {little.log} {big.rule} {big.log}")
    return wrong, rules


def test_every_hand_made_btf_gets_the_same_verdict_in_either_order() -> None:
    wrong, rules = differing(edge.mutant for edge in edges(Vmlinux(BASE)))
    assert wrong == []
    assert len(rules) > 80


def test_seeded_mutants_get_the_same_verdict_in_either_order() -> None:
    vmlinux = Vmlinux(BASE)
    made = mutants(17, COUNT, {"m": small_module(vmlinux).bytes()}, vmlinux)
    chosen = [one for one in made if not one.halved]
    assert len(chosen) > 0.97 * COUNT
    wrong, rules = differing(chosen)
    assert wrong == []
    assert len(rules) > 40
