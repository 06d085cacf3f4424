# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A matrix of runs: axes multiplied out into cells, and how each may end. Pure."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

from kbtf_ci.errors import ExitCode, UsageError
from kbtf_ci.model.compiler import DEFAULT as DEFAULT_COMPILER
from kbtf_ci.model.matrix_budget import CellBudget
from kbtf_ci.model.options import DEFAULT_CONFIG, DEFAULT_SUITE, TRACING

OptionValue = str | int | bool | tuple[str, ...]

# The options that a cell may have, by their long names on the command line of run and verify.
_SINGLE: Final = (
    "config", "directory", "sha256", "suite", "arch", "toolchain", "pahole", "pahole-tree", "libbpf-tree",
    "load", "memory", "cpus", "append", "prove", "fail-on", "accel", "modules", "engine",
)  # fmt: skip
_REPEATED: Final = ("fragment", "kconfig-add", "timeouts", "kernel")
FLAGS: Final = ("btf-cache", "btf-server")
VARIABLES: Final = "variables"  # make's, which have no option
REPEATED: Final = (*_REPEATED, VARIABLES)
OPTIONS: Final = (*_SINGLE, *REPEATED, *FLAGS)
# With a kernel of others nothing is built.
_OF_A_BUILD: Final = frozenset(
    ("config", "directory", "sha256", "toolchain", "pahole", "pahole-tree", "libbpf-tree", "fragment",
     "kconfig-add", "btf-cache", "btf-server", VARIABLES)
)  # fmt: skip
# What only links and BTF depend on: cells that differ in nothing else share what is compiled.
_NOT_COMPILED_IN: Final = frozenset(
    ("pahole-tree", "libbpf-tree", "load", "memory", "cpus", "append", "prove", "fail-on", "accel",
     "timeouts", "btf-cache", "btf-server")
)  # fmt: skip
# What is named and what is left out is the same build.
_DEFAULTS: Final = {"config": DEFAULT_CONFIG, "suite": DEFAULT_SUITE, "toolchain": DEFAULT_COMPILER.name}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._+-]+")
_LONGEST_FOLDER: Final = 150
# Far more than anybody waits for.
_MOST_COMBINATIONS: Final = 100_000


class CellOutcome(StrEnum):
    """What a cell's command came to, by its exit code."""

    VERIFIED = "verified"
    NOT_VERIFIED = "not verified"
    BUILD_FAILED = "build failed"
    GUEST_DIED = "guest died"
    REFUSED = "refused"
    INFRASTRUCTURE = "infrastructure"
    NOT_RUN = "not run"


_BY_EXIT_CODE: Final[Mapping[int, CellOutcome]] = {
    ExitCode.VERIFIED: CellOutcome.VERIFIED,
    ExitCode.NOT_VERIFIED: CellOutcome.NOT_VERIFIED,
    ExitCode.USAGE: CellOutcome.REFUSED,
    ExitCode.BUILD_FAILED: CellOutcome.BUILD_FAILED,
    ExitCode.GUEST_DIED: CellOutcome.GUEST_DIED,
    ExitCode.INTERRUPTED: CellOutcome.NOT_RUN,
}
# These say nothing of the cell: it is run again.
OPEN: Final = (CellOutcome.INFRASTRUCTURE, CellOutcome.NOT_RUN)


def outcome_of(exit_code: int) -> CellOutcome:
    """Return what an exit code of run or verify says; a code of nobody's is the machine's fault."""
    return _BY_EXIT_CODE.get(exit_code, CellOutcome.INFRASTRUCTURE)


@dataclass(frozen=True)
class Choice:
    """One value of an axis: its name, and the options that it stands for."""

    name: str
    options: Mapping[str, OptionValue]


@dataclass(frozen=True)
class Rule:
    """Some cells: axis by axis the names that it holds for; an axis that it does not name holds with all."""

    choices: Mapping[str, tuple[str, ...]]

    def holds(self, chosen: Mapping[str, str]) -> bool:
        """Return whether it speaks of the cell of these names."""
        return all(chosen.get(axis) in names for axis, names in self.choices.items())


@dataclass(frozen=True)
class Expectation:
    """How some cells are known to fail, why, and where that is written."""

    rule: Rule
    outcome: CellOutcome
    reason: str
    link: str = ""


@dataclass(frozen=True)
class Budgeted:
    """What some cells may take."""

    rule: Rule
    budget: CellBudget


@dataclass(frozen=True)
class Cell:
    """One run of the matrix: the name that each axis chose, and the options of all of them."""

    choices: Mapping[str, str]
    options: Mapping[str, OptionValue]
    expected: Expectation | None = None
    budget: CellBudget | None = None

    @property
    def name(self) -> str:
        """The names of its choices, axis by axis."""
        return "/".join(self.choices.values())

    @cached_property
    def folder(self) -> str:
        """Its name as a folder's; where that is not the whole of it, with its options' digest."""
        whole = "__".join(self.choices.values())
        name = _UNSAFE.sub("_", whole)[:_LONGEST_FOLDER]
        return name if name == whole else f"{name}-{self.digest}"

    @property
    def is_built(self) -> bool:
        """Whether its kernel is built, and not others'."""
        return "kernel" not in self.options

    @property
    def words(self) -> tuple[str, ...]:
        """The words behind ``kbtf-ci`` that run it."""
        return tuple(_words(self.options))

    @property
    def command(self) -> str:
        """The one command that repeats it."""
        return shlex.join(("kbtf-ci", *self.words))

    @cached_property
    def digest(self) -> str:
        """What tells its options from others."""
        return _digest(self.options)

    @cached_property
    def compiled(self) -> str:
        """What tells its compiled objects from other cells': a suite's pahole or a source of it does not."""
        left = {
            key: value
            for key, value in self.options.items()
            if key not in _NOT_COMPILED_IN and value != _DEFAULTS.get(key)
        }
        if self.is_built and "prove" in self.options:
            fragments = left.get("fragment", ())
            left["fragment"] = (TRACING, *(fragments if isinstance(fragments, tuple) else ()))
        if "pahole-tree" in self.options or "/" not in str(left.get("pahole", "/")):
            left["pahole"] = "made"
        return _digest(left)


def _digest(options: Mapping[str, OptionValue]) -> str:
    return hashlib.sha256(json.dumps(sorted(options.items())).encode()).hexdigest()[:16]


def _words(options: Mapping[str, OptionValue]) -> Iterator[str]:
    of_others = "kernel" in options
    yield "verify" if of_others else "run"
    for name, value in sorted(options.items()):
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
        elif isinstance(value, tuple):
            yield from (word for one in value for word in _one(name, one))
        else:
            yield from _one(name, str(value))


def _one(name: str, value: str) -> tuple[str, ...]:
    return (value,) if name == VARIABLES else (f"--{name}", value)


@dataclass(frozen=True)
class Rules:
    """What holds for some of the combinations: these are no cells, are, are known to fail, have a budget."""

    exclude: Sequence[Rule] = ()
    include: Sequence[Mapping[str, str]] = ()
    expect: Sequence[Expectation] = ()
    budgets: Sequence[Budgeted] = ()


@dataclass(frozen=True)
class Plan:
    """All cells of a matrix, those that share compiled objects one behind the other."""

    name: str
    description: str
    axes: tuple[str, ...]
    cells: tuple[Cell, ...]

    def named(self, names: Iterable[str]) -> Plan:
        """Return the plan of those cells alone. Raises UsageError for a name that no cell has."""
        wanted = tuple(names)
        known = {cell.name for cell in self.cells}
        for name in wanted:
            if name not in known:
                raise UsageError(
                    f"--only {name}: the matrix {self.name} has no such cell",
                    hint="kbtf-ci matrix plan names them",
                )
        cells = tuple(cell for cell in self.cells if cell.name in wanted) if wanted else self.cells
        return Plan(self.name, self.description, self.axes, cells)


def multiply(
    name: str,
    description: str,
    common: Mapping[str, OptionValue],
    axes: Mapping[str, Sequence[Choice]],
    rules: Rules = Rules(),
) -> Plan:
    """Return the plan: every combination of the axes that no rule of ``exclude`` holds for, and ``include``.

    A cell that is expected to fail by several takes the first; of budgets it has to keep all. Raises
    UsageError where nothing is left or too much is there, where two options do not go together, and where
    two cells are one.
    """
    number = math.prod(map(len, axes.values()))
    if number > _MOST_COMBINATIONS:
        raise UsageError(
            f"the matrix {name} has {number:,} combinations, and {_MOST_COMBINATIONS:,} are the most",
            hint="make several matrices of it",
        )
    product = itertools.product(*axes.values())
    combinations = [dict(zip(axes, chosen, strict=True)) for chosen in product]
    wanted = [
        one for one in combinations
        if not any(rule.holds({axis: choice.name for axis, choice in one.items()}) for rule in rules.exclude)
    ]  # fmt: skip
    wanted += [{axis: _choice(axes, axis, chosen) for axis, chosen in one.items()} for one in rules.include]
    cells = [_cell(common, chosen, rules) for chosen in wanted]
    if not cells:
        raise UsageError(f"the matrix {name} has no cell", hint="its [[exclude]] leaves none")
    _check_different(cells)
    first = {cell.compiled: number for number, cell in reversed(list(enumerate(cells)))}
    cells.sort(key=lambda cell: first[cell.compiled])
    return Plan(name, description, tuple(axes), tuple(cells))


def _choice(axes: Mapping[str, Sequence[Choice]], axis: str, name: str) -> Choice:
    return next(choice for choice in axes[axis] if choice.name == name)


def _cell(common: Mapping[str, OptionValue], chosen: Mapping[str, Choice], rules: Rules) -> Cell:
    options = dict(common)
    for choice in chosen.values():
        for key, value in choice.options.items():
            before = options.get(key)
            # Repeated options of several axes are all asked for; "" takes one of all away.
            both = isinstance(before, tuple) and isinstance(value, tuple)
            options[key] = (*before, *value) if both else value  # type: ignore[misc]
    options = {key: value for key, value in options.items() if value not in ("", ())}
    names = {axis: choice.name for axis, choice in chosen.items()}
    expected = next((one for one in rules.expect if one.rule.holds(names)), None)
    budget = CellBudget.least(one.budget for one in rules.budgets if one.rule.holds(names))
    cell = Cell(names, options, expected, budget)
    if "kernel" in options and (built := sorted(_OF_A_BUILD & options.keys())):
        raise UsageError(f"cell {cell.name}: a kernel of others is not built: {', '.join(built)}")
    return cell


def _check_different(cells: Sequence[Cell]) -> None:
    seen: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        if cell.folder in ("", ".", ".."):
            raise UsageError(
                f"cell '{cell.name}': its name can be no folder's", hint="give its value another"
            )
        for key in (("name", cell.name), ("folder", cell.folder), ("options", cell.digest)):
            other = seen.setdefault(key, cell)
            if other is not cell:
                raise UsageError(
                    f"cells {other.name} and {cell.name} are one by their {key[0]}: {cell.command}",
                    hint='a value may have another name, as { name = "7.2", suite = "forky" }',
                )
