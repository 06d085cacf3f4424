# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An out-of-tree module against a distribution's headers, in the ways that its BTF may come about. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.outcome import ModuleResult, Outcome
from kbtf_ci.model.prediction import Prediction


class Way(StrEnum):
    """What lies beside the headers as vmlinux, and what kbuild makes of it (scripts/Makefile.modfinal)."""

    ABSENT = "absent"  # nothing, as headers packages come: the module gets no BTF
    SPLIT = "split"  # the kernel's own BTF, and pahole told to write no base of the module's own
    DISTILLED = "distilled"  # the same, by kbuild's own flags: since 6.11 with a .BTF.base
    WRONG = "wrong"  # the BTF of a larger build, written against as before 6.11

    @property
    def decides(self) -> bool:
        """Whether a module that is not VERIFIED this way is a fault; the others only show one."""
        return self in (Way.SPLIT, Way.DISTILLED)

    @property
    def variables(self) -> tuple[str, ...]:
        """What make is called with besides."""
        return ("MODULE_PAHOLE_FLAGS=",) if self in (Way.SPLIT, Way.WRONG) else ()


@dataclass(frozen=True)
class BuiltModule:
    """One module as it was built, what a kernel made of it, and what the offline check said before."""

    result: ModuleResult
    prediction: Prediction | None


@dataclass(frozen=True)
class WayResult:
    """What came of one way: make's lines on BTF, the modules, and the run directory that has it all."""

    way: Way
    build_lines: tuple[str, ...]
    modules: tuple[BuiltModule, ...]
    run_directory: str


def exit_code(results: Iterable[WayResult]) -> ExitCode:
    """Return 1 where a module is not VERIFIED in a way that should do, else 0."""
    faults = (
        one.result.outcome is not Outcome.VERIFIED
        for found in results
        if found.way.decides
        for one in found.modules
    )
    return ExitCode.NOT_VERIFIED if any(faults) else ExitCode.VERIFIED
