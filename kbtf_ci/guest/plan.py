"""Which modules are to be loaded next, in which mode, given all that was observed so far. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kbtf_ci.modules import Module, closure, dependency_order
from kbtf_ci.outcomes import LoadMode, LoadPolicy, Observation, wants_inert


@dataclass(frozen=True)
class Batch:
    """Loads for one run of the probe, in order."""

    mode: LoadMode
    modules: tuple[Module, ...]


class Plan:
    """The observations of a run, and what remains to be observed."""

    def __init__(self, modules: Iterable[Module], policy: LoadPolicy) -> None:
        """Raises UsageError for modules that depend on each other in a circle."""
        self._modules = dependency_order(modules)
        self._policy = policy
        self._seen: dict[tuple[LoadMode, str], Observation] = {}

    def next_batch(self, *, fresh: bool) -> Batch | None:
        """Return the next batch, or None when all is observed.

        In a ``fresh`` guest, what the batch depends on and was loaded in an earlier one comes first again.
        """
        for mode in (LoadMode.REAL, LoadMode.INERT):
            wanted = frozenset(module.name for module in self._modules if self._wants(mode, module.name))
            if wanted:
                served = self._helpers(mode, wanted) if fresh else frozenset()
                chosen = wanted | served
                return Batch(mode, tuple(m for m in self._modules if m.name in chosen))
        return None

    def record(self, observation: Observation) -> bool:
        """Take an observation; False when it only repeats an attempt that was answered before.

        A death is never a repetition: a module that was loaded before may still kill the next guest.
        """
        key = (observation.mode, observation.name)
        known = self._seen.get(key)
        if known is not None and (observation.death is None or known.death is not None):
            return False
        self._seen[key] = observation
        return True

    def _wants(self, mode: LoadMode, name: str) -> bool:
        if (mode, name) in self._seen:
            return False
        if self._policy is not LoadPolicy.AUTO:
            return mode == self._policy.value
        if mode is LoadMode.REAL:
            return True
        real = self._seen.get((LoadMode.REAL, name))
        return real is not None and wants_inert(real)

    def _helpers(self, mode: LoadMode, wanted: frozenset[str]) -> frozenset[str]:
        needed = closure(wanted, self._modules) - wanted
        return frozenset(name for name in needed if self._helps(mode, name))

    def _helps(self, mode: LoadMode, name: str) -> bool:
        """Whether the module loads in this mode, as far as is known.

        To a module that is loaded inert, an inert one gives its symbols as well as a real one would.
        """
        seen = self._seen.get((mode, name))
        if seen is None:
            return mode is LoadMode.INERT
        return seen.errno == 0 and seen.death is None
