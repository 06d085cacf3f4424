# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Several guests at once, each with its share of the modules, and their results as of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kbtf_ci.errors import EngineError
from kbtf_ci.guest import accel as acceleration
from kbtf_ci.guest.carriers import weight
from kbtf_ci.guest.guest import GuestSpec
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import GuestRun, Listener, observe
from kbtf_ci.infra.runner import Command, Process, Runner
from kbtf_ci.model.module import Module, closure, dependency_order
from kbtf_ci.model.outcome import LoadPolicy, Observation

_Told = TypeVar("_Told")


@dataclass(frozen=True)
class Share:
    """One guest's part: what it boots, the modules that it loads, and the folder of its logs."""

    spec: GuestSpec
    modules: tuple[Module, ...]
    logs: Path


def shares(modules: Sequence[Module], guests: int, policy: LoadPolicy) -> tuple[tuple[Module, ...], ...]:
    """Divide ``modules`` into at most ``guests`` parts of about equal BTF, each with all it depends on.

    A module that others of two parts depend on is in both; carriers depend on nothing. Raises UsageError
    for modules that depend on each other in a circle.
    """
    carried = policy is LoadPolicy.CARRIER
    ordered = tuple(modules) if carried else dependency_order(modules)
    whole = sum(weight(module) for module in ordered)
    parts: list[list[Module]] = [[] for _ in range(guests)]
    done = 0
    for module in ordered:
        parts[min(done * guests // max(whole, 1), guests - 1)].append(module)
        done += weight(module)
    return tuple(_complete(part, ordered, carried=carried) for part in parts if part)


def _complete(part: list[Module], ordered: Sequence[Module], *, carried: bool) -> tuple[Module, ...]:
    if carried:
        return tuple(part)
    needed = closure((module.name for module in part), ordered)
    return tuple(module for module in ordered if module.name in needed)


def observe_shares(
    runner: Runner,
    parts: Sequence[Share],
    policy: LoadPolicy,
    listener: Listener,
    accel: Accel | None = None,
) -> GuestRun:
    """Load every share's modules in a guest of its own, all at once; tell ``listener`` what came of each.

    ``accel`` is what the shares' accelerator came to; without it that is found out first. A guest that cannot
    go on leaves the others alone; its error is raised when all have ended. Raises as
    ``observe``. An interrupt ends every guest.
    """
    fleet = Stoppable(runner)
    accel = accel or acceleration.choose(
        runner, parts[0].spec.accel, listener.warned, machine=parts[0].spec.machine
    )
    together = _Merged(listener)

    def one(number: int, share: Share) -> GuestRun:
        heard = together.listener(number if len(parts) > 1 else None)
        return observe(fleet, share.spec, share.modules, policy, logs=share.logs, listener=heard, accel=accel)

    with ThreadPoolExecutor(len(parts), thread_name_prefix="guest") as pool:
        running = [pool.submit(one, number, share) for number, share in enumerate(parts, 1)]
        try:
            wait(running)
        except BaseException:
            for failure in fleet.stop():
                listener.warned(f"a guest could not be killed and ends by its deadline: {failure}")
            raise
    return _merge(running)


def _merge(ended: Sequence[Future[GuestRun]]) -> GuestRun:
    runs = [future.result() for future in ended]
    return GuestRun(
        accel=Accel.TCG if any(run.accel is Accel.TCG for run in runs) else runs[0].accel,
        boots=sum(run.boots for run in runs),
        boot_s=max(run.boot_s for run in runs),
        load_s=max(run.load_s for run in runs),
        guests=len(runs),
    )


class _Merged:
    """One listener for several guests: a module that two of them loaded is told of once."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lock = threading.Lock()
        self._owner: dict[str, int | None] = {}
        self._boots = 0

    def listener(self, number: int | None) -> Listener:
        def observed(observation: Observation) -> None:
            with self._lock:
                if self._owner.setdefault(observation.name, number) == number:
                    self._listener.observed(observation)

        def booted(_: int, seconds: float) -> None:
            with self._lock:
                self._boots += 1
                self._listener.booted(self._boots, seconds)

        told = self._locked
        return Listener(
            observed,
            booted,
            told(self._listener.warned),
            told(self._listener.kernel_warned),
            told(self._listener.vmlinux_read),
            self._listener.prover,
        )

    def _locked(self, tell: Callable[[_Told], None]) -> Callable[[_Told], None]:
        def told(what: _Told) -> None:
            with self._lock:
                tell(what)

        return told


class Stoppable:
    """A runner whose processes can all be ended from another thread."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        self._running: list[Process] = []
        self._stopped = False

    @property
    def contained(self) -> bool:
        """Whether the commands of the runner are; see ``Runner.contained``."""
        return self._runner.contained

    @contextmanager
    def start(self, command: Command) -> Iterator[Process]:
        """Start a command, as any runner does."""
        with self._runner.start(command) as process:
            with self._lock:
                if self._stopped:
                    raise EngineError("the run is being ended")
                self._running.append(process)
            try:
                yield process
            finally:
                with self._lock:
                    self._running.remove(process)

    def stop(self) -> list[Exception]:
        """Kill every process and let none start any more; return why some could not be killed."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        failures: list[Exception] = []
        for process in running:
            try:
                process.kill()
            except Exception as failure:  # whatever it is, the others are to be killed as well
                failures.append(failure)
        return failures
