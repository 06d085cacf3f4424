# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the cells of a matrix came to, beside what was expected of them, and before. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.matrix import OPEN, Cell, CellOutcome, Plan


class Standing(StrEnum):
    """An outcome beside what was expected."""

    GOOD = "good"
    EXPECTED = "expected failure"
    UNEXPECTED = "unexpected"
    VERIFIED_UNEXPECTEDLY = "verified unexpectedly"
    OVER_BUDGET = "over budget"
    OPEN = "open"


_WORST_FIRST: Final = (
    Standing.UNEXPECTED,
    Standing.VERIFIED_UNEXPECTEDLY,
    Standing.OVER_BUDGET,
    Standing.OPEN,
    Standing.EXPECTED,
    Standing.GOOD,
)


@dataclass(frozen=True)
class CellResult:
    """What a cell came to: times in seconds, ``btf_bytes`` of all its modules, ``error`` a line or "".

    ``compile_s`` and ``link_s`` are what make took up to vmlinux's first link and behind that, BTF included;
    None where it was not called. ``release``, ``compiler``, ``pahole`` and ``libbpf`` are its kernel's.
    ``run`` is its run directory, "" for none, and ``worker`` who ran it where that was another process.
    """

    name: str
    digest: str
    outcome: CellOutcome
    seconds: float = 0.0
    exit_code: int | None = None
    modules: int = 0
    verified: int = 0
    btf_bytes: int = 0
    compile_s: float | None = None
    link_s: float | None = None
    release: str = ""
    compiler: str = ""
    pahole: str = ""
    libbpf: str = ""
    error: str = ""
    run: str = ""
    kbtf_ci: str = ""
    worker: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return dict(vars(self))


def standing(cell: Cell, result: CellResult, baseline: CellResult | None = None) -> Standing:
    """Return how an outcome stands beside what was expected of the cell, and its budget."""
    if result.outcome in OPEN:
        return Standing.OPEN
    if cell.expected is None:
        if result.outcome is not CellOutcome.VERIFIED:
            return Standing.UNEXPECTED
        return Standing.OVER_BUDGET if breaches(cell, result, baseline) else Standing.GOOD
    if result.outcome is CellOutcome.VERIFIED:
        return Standing.VERIFIED_UNEXPECTEDLY
    return Standing.EXPECTED if result.outcome is cell.expected.outcome else Standing.UNEXPECTED


def breaches(cell: Cell, result: CellResult, baseline: CellResult | None) -> tuple[str, ...]:
    """Return a line for each budget that a verified cell does not keep; the ``baseline`` is verified too."""
    if cell.budget is None or result.outcome is not CellOutcome.VERIFIED:
        return ()
    return tuple(cell.budget.breaches(result, baseline))


def changed(before: CellResult | None, now: CellResult) -> str:
    """Return what is different from the run before, in words; "" for nothing."""
    if before is None or before.outcome in OPEN or now.outcome in OPEN:
        return ""
    found = []
    if before.outcome is not now.outcome:
        found.append(f"{before.outcome} before")
    elif (before.modules, before.verified) != (now.modules, now.verified):
        found.append(f"{before.verified} of {before.modules} before")
    if before.btf_bytes != now.btf_bytes:
        found.append(f"{now.btf_bytes - before.btf_bytes:+,} bytes of BTF")
    return ", ".join(found)


@dataclass(frozen=True)
class MatrixResults:
    """A matrix as far as it was run; all by the names of cells, which the plan may have no longer.

    ``before`` is what a cell came to the time before, ``baseline`` what it was before when it was verified
    last, which budgets are held against.
    """

    plan: Plan
    results: Mapping[str, CellResult]
    before: Mapping[str, CellResult] = field(default_factory=dict)
    baseline: Mapping[str, CellResult] = field(default_factory=dict)

    def of(self, cell: Cell) -> CellResult:
        """Return what a cell came to; by other options than it has now it was not run."""
        found = self.results.get(cell.name)
        if found is None or found.digest != cell.digest:
            return CellResult(cell.name, cell.digest, CellOutcome.NOT_RUN)
        return found

    def over_budget(self, cell: Cell) -> tuple[str, ...]:
        """Return a line for each budget that a cell does not keep."""
        return breaches(cell, self.of(cell), self.baseline.get(cell.name))

    @property
    def standings(self) -> Mapping[str, Standing]:
        """How each cell stands, by its name."""
        baseline = self.baseline
        return {cell.name: standing(cell, self.of(cell), baseline.get(cell.name)) for cell in self.plan.cells}

    @property
    def ordered(self) -> tuple[Cell, ...]:
        """All cells, those that nobody expected so first."""
        standings = self.standings
        return tuple(sorted(self.plan.cells, key=lambda cell: _WORST_FIRST.index(standings[cell.name])))

    @property
    def exit_code(self) -> ExitCode:
        """1 where something is not as expected, 5 where a cell is open, else 0."""
        found = set(self.standings.values())
        if found & {Standing.UNEXPECTED, Standing.VERIFIED_UNEXPECTEDLY, Standing.OVER_BUDGET}:
            return ExitCode.NOT_VERIFIED
        return ExitCode.INFRASTRUCTURE if Standing.OPEN in found else ExitCode.VERIFIED
