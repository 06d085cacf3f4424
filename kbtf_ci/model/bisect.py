# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bisection as values: the commits, what was found at each, and which commit that leaves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict

from kbtf_ci.errors import KbtfError
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.outcome import ModuleResult, Outcome
from kbtf_ci.model.prediction import Prediction

_SHORT = 12  # hex digits: how the kernel cites commits (Documentation/process/submitting-patches.rst)
_NAMED = 3
# What says nothing on a module's BTF by itself.
_SILENT = frozenset({Outcome.NOT_REACHED, Outcome.UNREADABLE})


class Mark(StrEnum):
    """What git bisect is told of a commit."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


class Subject(StrEnum):
    """Whose history is searched."""

    KERNEL = "kernel"
    PAHOLE = "pahole"


@pydantic.dataclasses.dataclass(frozen=True)
class Commit:
    """A commit: its whole hash, its message's first line, its author, and the author's date (ISO 8601)."""

    sha: str
    subject: str
    author: str = ""
    date: str = ""

    @property
    def short(self) -> str:
        """The hash as people cite it."""
        return self.sha[:_SHORT]

    def __str__(self) -> str:
        return f"{self.short} ({self.subject})"


@dataclass(frozen=True)
class Findings:
    """What a run found at one commit: results, what the offline check said, and the error that ended it.

    ``against`` are the findings besides outcomes that count against the kernel as a whole.
    """

    results: Sequence[ModuleResult]
    predictions: Sequence[Prediction] = ()
    against: Collection[FailOn] = ()
    fail_on: Collection[FailOn] = ()
    error: KbtfError | None = None


@pydantic.dataclasses.dataclass(frozen=True)
class Judgement:
    """What git bisect is told, why in one line, and the module that it is about, "" for none."""

    mark: Mark
    reason: str
    module: str = ""


@pydantic.dataclasses.dataclass(frozen=True)
class Step:
    """One commit that was tried. ``seconds`` on the wall; ``folder`` is its run directory."""

    commit: Commit
    judgement: Judgement
    seconds: float
    folder: str


class Ends(BaseModel):
    """What a bisection is of: two results may be put together where all of this is the same."""

    model_config = ConfigDict(frozen=True)
    good: Commit
    bad: Commit
    module: str = ""
    options: Annotated[str, BeforeValidator(str)] = ""


class Standing(BaseModel):
    """How far a bisection is, as it is kept between two calls; ``folder`` is where its results go."""

    model_config = ConfigDict(frozen=True)
    schema_: Literal["kbtf-ci/bisect-state/1"] = "kbtf-ci/bisect-state/1"
    ends: Ends
    folder: str
    steps: tuple[Step, ...] = ()

    def with_step(self, step: Step) -> Standing:
        """Return it one step further."""
        return self.model_copy(update={"steps": (*self.steps, step)})

    def step_of(self, sha: str) -> Step | None:
        """Return what was found at a commit, None where it was not tried."""
        return next((step for step in self.steps if step.commit.sha == sha), None)


@dataclass(frozen=True)
class Words:
    """What one run said of the module: its outcome ("" where it was not there) and the kernel's lines.

    ``folder`` is the run directory, whose kernel is kept.
    """

    commit: Commit
    folder: str
    outcome: str
    log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """The end of a bisection: the first bad commit, or, where skipped commits hide it, the possible ones."""

    first_bad: Commit | None
    possible: tuple[Commit, ...] = ()


def judge(found: Findings, module: str = "") -> Judgement:
    """Return what a run says of its commit.

    With ``module`` that module alone counts, and what concerns it; else every module, as for the exit code
    of ``kbtf-ci run``. A guest that died speaks against the commit only by what was observed before.
    """
    return _judge_module(found, module) if module else _judge_all(found)


def _judge_module(found: Findings, module: str) -> Judgement:
    result = next((one for one in found.results if one.module.name == module), None)
    if result is None:
        return Judgement(Mark.SKIP, f"there is no module {module}", module)
    if result.outcome in _SILENT:
        return Judgement(Mark.SKIP, f"{module} {_silence(result, found)}", module)
    if result.outcome is not Outcome.VERIFIED:
        return Judgement(Mark.BAD, f"{module} {_word(result)}", module)
    base = next((one.base_mismatch for one in found.predictions if one.name == module), "")
    if base and FailOn.BASE_MISMATCH in found.fail_on:
        return Judgement(Mark.BAD, f"{module} {result.outcome}, but {base}", module)
    if result.warnings and FailOn.WARNING in found.fail_on:
        return Judgement(Mark.BAD, f"{module} {result.outcome}, but the kernel warned", module)
    return Judgement(Mark.GOOD, f"{module} {result.outcome}", module)


def _judge_all(found: Findings) -> Judgement:
    bad = [one for one in found.results if one.outcome not in _SILENT | {Outcome.VERIFIED}]
    if bad:
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        named = ", ".join(f"{one.module.name} {_word(one)}" for one in bad[:_NAMED])
        return Judgement(Mark.BAD, f"{named}{more}", bad[0].module.name)
    silent = [one for one in found.results if one.outcome in _SILENT]
    if found.error is not None or silent:
        reason = found.error.message if found.error else f"{silent[0].module.name} {silent[0].outcome}"
        return Judgement(Mark.SKIP, reason)
    if found.against:
        return Judgement(Mark.BAD, f"findings: {', '.join(sorted(found.against))}", _mismatched(found))
    if not found.results:
        return Judgement(Mark.SKIP, "there are no modules")
    return Judgement(Mark.GOOD, f"{len(found.results)} modules VERIFIED")


def _mismatched(found: Findings) -> str:
    return next((one.name for one in found.predictions if one.base_mismatch), "")


def _silence(result: ModuleResult, found: Findings) -> str:
    return f"{result.outcome}: {found.error.message}" if found.error else _word(result)


def _word(result: ModuleResult) -> str:
    return f"{result.outcome}: {result.reason}" if result.reason else result.outcome.value


def newest(steps: Iterable[Step], mark: Mark) -> Step | None:
    """Return the newest step of that mark: of good and bad ones those that the search goes on between."""
    return next((step for step in reversed(list(steps)) if step.judgement.mark is mark), None)
