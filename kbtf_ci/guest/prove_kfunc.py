# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Calls of the kfuncs of vmlinux, and of modules that a guest has loaded (containers/guest/kfunc.c)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from kbtf_ci.guest.prove import answer_of, ask_all
from kbtf_ci.guest.ssh import CommandError, GuestShell, ShellLostError, SilenceError
from kbtf_ci.guest.vm import GuestDiedError
from kbtf_ci.model.kfunc_proof import (
    ENOTSUPP,
    LIVE,
    VMLINUX,
    KfuncAnswer,
    KfuncState,
    LiveCall,
    LiveProgram,
    ProgramKind,
    RegisteredKfunc,
    may_call,
    refusal,
)
from kbtf_ci.model.proof import Answer


@dataclass
class KfuncProver:
    """Calls every kfunc from programs of each type until one is taken.

    ``kfuncs`` are those of vmlinux and of each module by its name, ``kinds`` the types of programs,
    ``config`` the kernel's. Of several guests at once each may call it; vmlinux's are tried in the first.
    """

    kfuncs: Mapping[str, Sequence[RegisteredKfunc]]
    kinds: Sequence[ProgramKind]
    config: Mapping[str, str]
    told: Callable[[str], None] = lambda _: None
    found: list[KfuncAnswer] = field(default_factory=list)
    live: list[LiveCall] = field(default_factory=list)
    programs: tuple[str, ...] = ()
    cannot: str = ""
    ended: str = ""
    seconds: float = 0.0
    _owners: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prove(self, shell: GuestShell, modules: Sequence[str], silence: float) -> None:
        """See guest/prove.py, Prover."""
        began = time.monotonic()
        with self._lock:
            owners = [
                name for name in (VMLINUX, *modules) if self.kfuncs.get(name) and name not in self._owners
            ]
            self._owners.update(owners)
        try:
            self._prove(shell, owners, silence)
        except (GuestDiedError, SilenceError, ShellLostError, CommandError) as error:
            self.ended = error.message
        with self._lock:
            self.seconds = max(self.seconds, time.monotonic() - began)

    def _prove(self, shell: GuestShell, owners: Sequence[str], silence: float) -> None:
        tried = list(_tried(shell, self.kinds, silence))
        kinds = [kind for kind, answer in tried if not answer.errno]
        with self._lock:
            self.programs = tuple(kind.name for kind in kinds)
        if not kinds:
            self.cannot = f"this kernel loads no BPF program ({refusal(tried[0][1])})"
            return
        calls = _Calls([kfunc for name in owners for kfunc in self.kfuncs[name]])
        for kind in kinds:
            if not calls.left or self.cannot:
                break
            self.told(f"{len(calls.left)} kfuncs, called from a program of type {kind.name}")
            for kfunc, called, dead in _called(shell, kind, calls.left, silence):
                if dead.errno == ENOTSUPP:
                    self.cannot = self._without(dead)
                    return
                calls.take(kfunc, kind.name, called, dead)
        answers = calls.answers()
        live = list(_run(shell, {kind.name: kind for kind in kinds}, answers, silence))
        with self._lock:
            self.found += answers
            self.live += live

    def _without(self, answer: Answer) -> str:
        unset = "" if self.config.get("CONFIG_BPF_JIT") == "y" else ": CONFIG_BPF_JIT not set"
        return f"this kernel takes no program that calls a kfunc ({refusal(answer)}){unset}"


class _Calls:
    """What is known of each kfunc so far."""

    def __init__(self, kfuncs: Sequence[RegisteredKfunc]) -> None:
        self.left = list(kfuncs)
        self._callable: dict[RegisteredKfunc, KfuncAnswer] = {}
        self._refused: dict[RegisteredKfunc, KfuncAnswer] = {}
        self._all = tuple(kfuncs)

    def take(self, kfunc: RegisteredKfunc, program: str, called: Answer, dead: Answer) -> None:
        """Note what a program of one type came to."""
        if not may_call(called):
            return
        if dead.errno:
            self._refused.setdefault(kfunc, KfuncAnswer(kfunc, KfuncState.REFUSED, program, refusal(dead)))
        else:
            self._callable[kfunc] = KfuncAnswer(kfunc, KfuncState.CALLABLE, program)
            self.left = [one for one in self.left if one is not kfunc]

    def answers(self) -> list[KfuncAnswer]:
        """Return what came of each, in order."""
        known = {**self._refused, **self._callable}
        return [known.get(one, KfuncAnswer(one, KfuncState.NOT_PROVEN)) for one in self._all]


def _tried(
    shell: GuestShell, kinds: Sequence[ProgramKind], silence: float
) -> Iterator[tuple[ProgramKind, Answer]]:
    asks = [kind.question for kind in kinds]
    for kind, line in zip(kinds, ask_all(shell, asks, silence), strict=True):
        yield kind, answer_of(line, kind.question)


def _called(
    shell: GuestShell, kind: ProgramKind, kfuncs: Sequence[RegisteredKfunc], silence: float
) -> Iterator[tuple[RegisteredKfunc, Answer, Answer]]:
    """Yield what became of a call of each kfunc in that type of program, and of one that is never reached.

    Of a module whose BTF the kernel does not have nothing is yielded.
    """
    asks = [kind.question]
    for owner, of_owner in groupby(kfuncs, lambda one: one.owner):
        ids = [kfunc.type_id for kfunc in of_owner]
        asks += [f"btf {owner}", *(f"{word} {type_id}" for type_id in ids for word in ("call", "dead"))]
    said = zip(asks, ask_all(shell, asks, silence), strict=True)
    answers = (answer_of(line, ask) for ask, line in said)
    next(answers)
    for _, of_owner in groupby(kfuncs, lambda one: one.owner):
        opened = next(answers)
        for kfunc in of_owner:
            called, dead = next(answers), next(answers)
            if not opened.errno:
                yield kfunc, called, dead


def _run(
    shell: GuestShell, kinds: Mapping[str, ProgramKind], answers: Sequence[KfuncAnswer], silence: float
) -> Iterator[LiveCall]:
    """Run each program whose kfuncs are all callable, of one owner."""
    callable_ones = [one.kfunc for one in answers if one.seen is KfuncState.CALLABLE]
    owners = list(dict.fromkeys(one.owner for one in callable_ones))
    for owner in owners:
        ids = {one.name: one.type_id for one in callable_ones if one.owner == owner}
        for program in LIVE:
            if program.program in kinds and all(name in ids for name in program.kfuncs):
                asks = [
                    f"btf {owner}",
                    kinds[program.program].question,
                    " ".join(["live", program.name, *(str(ids[name]) for name in program.kfuncs)]),
                ]
                line = list(ask_all(shell, asks, silence))[-1]
                yield LiveCall(program.name, program.kfuncs, _otherwise(program, answer_of(line, asks[-1])))


def _otherwise(program: LiveProgram, answer: Answer) -> str:
    """Return how a program that was run differs from what it has to return, "" for not at all."""
    if answer.errno:
        return refusal(answer)
    returned = answer.arguments.get(0)
    return "" if returned == program.returns else f"returned {returned}, not {program.returns}"
