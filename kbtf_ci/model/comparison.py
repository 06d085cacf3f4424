# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Two runs beside each other: modules, outcomes, bytes of BTF, functions, stages; and budgets. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from kbtf_ci.model.names import some
from kbtf_ci.model.outcome import Outcome


@dataclass(frozen=True)
class ModuleFacts:
    """A module of one run; ``functions`` are those that its BTF describes, None where they were not kept."""

    name: str
    outcome: str
    btf_bytes: int
    functions: frozenset[str] | None = None


@dataclass(frozen=True)
class RunFacts:
    """One run: how a person names it, its kernel's release, its modules by name, its stages in seconds."""

    name: str
    release: str
    modules: Mapping[str, ModuleFacts]
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def btf_bytes(self) -> int:
        """Bytes of all modules' BTF."""
        return sum(module.btf_bytes for module in self.modules.values())

    @property
    def has_functions(self) -> bool:
        """Whether the names of functions were kept."""
        return all(module.functions is not None for module in self.modules.values() if module.btf_bytes)


@dataclass(frozen=True)
class ModuleChange:
    """A module that both runs have."""

    before: ModuleFacts
    after: ModuleFacts

    @property
    def name(self) -> str:
        """The module's name."""
        return self.after.name

    @property
    def bytes_more(self) -> int:
        """By how many bytes its BTF has grown."""
        return self.after.btf_bytes - self.before.btf_bytes

    @property
    def lost(self) -> tuple[str, ...]:
        """Functions that its BTF describes no more."""
        return _less(self.before, self.after)

    @property
    def gained(self) -> tuple[str, ...]:
        """Functions that its BTF describes now."""
        return _less(self.after, self.before)


def _less(one: ModuleFacts, other: ModuleFacts) -> tuple[str, ...]:
    if one.functions is None or other.functions is None:
        return ()
    return tuple(sorted(one.functions - other.functions))


@dataclass(frozen=True)
class Comparison:
    """A run, ``after``, against an earlier one, ``before``."""

    before: RunFacts
    after: RunFacts

    @cached_property
    def gained(self) -> tuple[ModuleFacts, ...]:
        """Modules that the earlier run does not have."""
        return _missing(self.after, self.before)

    @cached_property
    def lost(self) -> tuple[ModuleFacts, ...]:
        """Modules that only the earlier run has."""
        return _missing(self.before, self.after)

    @cached_property
    def both(self) -> tuple[ModuleChange, ...]:
        """Modules of both."""
        shared = sorted(self.before.modules.keys() & self.after.modules.keys())
        return tuple(ModuleChange(self.before.modules[name], self.after.modules[name]) for name in shared)

    @property
    def outcomes(self) -> tuple[ModuleChange, ...]:
        """Those with another outcome, those that are VERIFIED no more first."""
        changed = [one for one in self.both if one.before.outcome != one.after.outcome]
        return tuple(sorted(changed, key=lambda one: one.before.outcome != Outcome.VERIFIED))

    @property
    def resized(self) -> tuple[ModuleChange, ...]:
        """Those with more or fewer bytes of BTF, the largest change first."""
        changed = [one for one in self.both if one.bytes_more]
        return tuple(sorted(changed, key=lambda one: -abs(one.bytes_more)))

    @property
    def functions(self) -> tuple[ModuleChange, ...]:
        """Those whose BTF describes other functions, the most lost first."""
        changed = [one for one in self.both if one.lost or one.gained]
        return tuple(sorted(changed, key=lambda one: (-len(one.lost), -len(one.gained))))

    @property
    def has_functions(self) -> bool:
        """Whether both runs kept the names of functions."""
        return self.before.has_functions and self.after.has_functions

    @property
    def lost_functions(self) -> int:
        """How many functions modules describe no more, those of lost modules among them."""
        gone = sum(len(module.functions or ()) for module in self.lost)
        return gone + sum(len(one.lost) for one in self.both)

    @property
    def bytes_more(self) -> int:
        """By how many bytes all modules' BTF has grown."""
        return self.after.btf_bytes - self.before.btf_bytes

    @property
    def growth(self) -> float:
        """The same in percent of what it was; 0 where there was none."""
        before = self.before.btf_bytes
        return 100 * self.bytes_more / before if before else 0.0


def _missing(run: RunFacts, other: RunFacts) -> tuple[ModuleFacts, ...]:
    return tuple(run.modules[name] for name in sorted(run.modules.keys() - other.modules.keys()))


@dataclass(frozen=True)
class Budgets:
    """What a run may come to against an earlier one; None for any. ``growth`` is in percent."""

    btf_bytes: int | None = None
    growth: float | None = None
    lost_functions: int | None = None
    lost_modules: int | None = None

    def breaches(self, found: Comparison) -> Iterator[str]:
        """Yield a line for each budget that is not kept."""
        size = found.after.btf_bytes
        if _is_over(size, self.btf_bytes):
            yield f"{size:,} bytes of BTF, and the budget is {self.btf_bytes:,}"
        if _is_over(found.growth, self.growth):
            yield f"BTF has grown by {found.growth:.2f} %, and the budget is {self.growth:g} %"
        if _is_over(found.lost_functions, self.lost_functions):
            yield (
                f"{found.lost_functions:,} functions are described no more, and the budget is "
                f"{self.lost_functions:,}: {some(list(_lost_functions(found)))}"
            )
        if _is_over(len(found.lost), self.lost_modules):
            lost = some([module.name for module in found.lost])
            yield f"{len(found.lost)} modules are gone, and the budget is {self.lost_modules}: {lost}"


def _is_over(value: float, budget: float | None) -> bool:
    return budget is not None and value > budget


def _lost_functions(found: Comparison) -> Iterator[str]:
    for one in found.functions:
        yield from (f"{one.name}:{name}" for name in one.lost)
    for module in found.lost:
        yield from (f"{module.name}:{name}" for name in sorted(module.functions or ()))
