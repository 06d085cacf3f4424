# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which modules are to be loaded next, in which mode, given all that was observed so far. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kbtf_ci.model.module import Module, closure, dependency_order
from kbtf_ci.model.outcome import LoadMode, LoadPolicy, Observation, wants_inert


@dataclass(frozen=True)
class Batch:
    """Loads for one run of the probe, in order."""

    mode: LoadMode
    modules: tuple[Module, ...]


class Plan:
    """The observations of a run, what remains to be observed, and what the present guest has loaded."""

    def __init__(
        self, modules: Iterable[Module], policy: LoadPolicy, present: frozenset[str] = frozenset()
    ) -> None:
        """``present`` names what every guest has loaded by itself, for real.

        Raises UsageError for modules that depend on each other in a circle; carriers depend on none.
        """
        self._modules = tuple(modules) if policy is LoadPolicy.CARRIER else dependency_order(modules)
        self._policy = policy
        self._seen: dict[tuple[LoadMode, str], Observation] = {}
        self._present = present
        self._loaded = set(present)

    def new_guest(self) -> None:
        """Forget what is loaded, but for what every guest has loaded by itself."""
        self._loaded = set(self._present)

    def next_batch(self) -> Batch | None:
        """Return the next batch, or None when all is observed.

        What the batch depends on and the present guest has not loaded comes with it, each module behind
        those it depends on.
        """
        for mode in LoadMode:
            wanted = frozenset(module.name for module in self._modules if self._wants(mode, module.name))
            if wanted:
                chosen = wanted | self._helpers(mode, wanted)
                return Batch(mode, tuple(m for m in self._modules if m.name in chosen))
        return None

    def record(self, observation: Observation) -> bool:
        """Take an observation; False when it says nothing new of its module, which only helped another.

        A death is always news: a module that was loaded before may still kill the next guest.
        """
        mode, name, died = observation.mode, observation.name, observation.death is not None
        if observation.errno == 0 and not died:
            self._loaded.add(name)
        known = self._seen.get((mode, name))
        again = known is not None and known.death is not None
        if not self._wants(mode, name) and (again or not died):
            return False
        self._seen[mode, name] = observation
        return True

    def _wants(self, mode: LoadMode, name: str) -> bool:
        if (mode, name) in self._seen:
            return False
        if name in self._present:
            return mode is LoadMode.REAL
        if self._policy is not LoadPolicy.AUTO:
            return mode == self._policy.value
        if mode is not LoadMode.INERT:
            return mode is LoadMode.REAL
        real = self._seen.get((LoadMode.REAL, name))
        return real is not None and wants_inert(real)

    def _helpers(self, mode: LoadMode, wanted: frozenset[str]) -> frozenset[str]:
        if mode is LoadMode.CARRIER:
            return frozenset()
        needed = closure(wanted, self._modules) - wanted - self._loaded
        return frozenset(name for name in needed if self._helps(mode, name))

    def _helps(self, mode: LoadMode, name: str) -> bool:
        """Whether the module loads in this mode, as far as is known.

        To a module that is loaded inert, an inert one gives its symbols as well as a real one would.
        """
        seen = self._seen.get((mode, name))
        if seen is None:
            return mode is LoadMode.INERT
        return seen.errno == 0 and seen.death is None
