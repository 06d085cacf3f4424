# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Failures of a build, which need make or pahole on a kernel tree: named with the reason, and not run yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.cases.case import Case, always
from kbtf_ci.model.case import Expected, Need, Version
from kbtf_ci.model.outcome import Outcome


@dataclass(frozen=True)
class _OnATree:
    """What there is to say of a failure until it runs."""

    name: str
    failure_class: int
    title: str
    story: str
    why_not: str
    outcome: Outcome
    since: Version = (5, 11)

    def case(self) -> Case:
        """Return it as a case."""
        return Case(
            name=self.name,
            failure_class=self.failure_class,
            title=self.title,
            story=self.story,
            source="scripts/Makefile.modfinal",
            expected=always(Expected(self.outcome)),
            since=self.since,
            needs=frozenset({Need.TREE}),
            why_not=f"needs a kernel tree: {self.why_not}",
        )


_FAILURES: Final = (
    _OnATree(
        "image-before-relink", 3, "vmlinux was linked again after the image was made",
        "make bzImage, a header touched, make modules: the modules' vmlinux is newer than the image.",
        "make links vmlinux again. vmlinux-function-more shows what its modules come to", Outcome.REJECTED,
    ),
    _OnATree(
        "vmlinux-not-at-hand", 5, "kbuild leaves a module's BTF out",
        "'Skipping BTF generation ... due to unavailability of vmlinux': headers without a vmlinux.",
        "make builds a module without vmlinux. btf-stripped shows what it comes to", Outcome.NO_BTF,
    ),
    _OnATree(
        "subdirectory-rebuilt", 25, "an in-tree module was built again with make M=",
        "It is treated as an external one: with a distilled base, or against the tree's vmlinux.",
        "make M= builds a module. base-fits and base-type-gone show what it may come to", Outcome.VERIFIED,
    ),
    _OnATree(
        "headers-vmlinux-cut", 29, "the vmlinux of the headers package is cut short",
        "'Failed to parse base BTF': no module is built.",
        "the build fails, and no kernel has a word to say", Outcome.LOAD_FAILED,
    ),
    _OnATree(
        "pahole-overridden", 30, "a module's Makefile sets PAHOLE to what cannot be run",
        "'pahole.sh: Permission denied' at the BTF step.",
        "the build fails, and no kernel has a word to say", Outcome.LOAD_FAILED,
    ),
    _OnATree(
        "encoded-in-parallel", 34, "the BTF of two builds differs in its order alone",
        "pahole -j without reproducible_build gives types and strings another order in every build.",
        "pahole encodes twice. vmlinux-in-another-order shows what modules come to", Outcome.VERIFIED,
    ),
    _OnATree(
        "kfunc-prototype-as-it-was", 35, "a kfunc's prototype still has its implicit argument",
        "pahole gave no bpf_kfunc tag, so resolve_btfids left the prototype: programs fail to load.",
        "resolve_btfids and pahole on a tree of 7.0 or later", Outcome.VERIFIED, (7, 0),
    ),
)  # fmt: skip
CASES: Final = tuple(one.case() for one in _FAILURES)
