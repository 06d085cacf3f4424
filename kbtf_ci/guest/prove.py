# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""fentry programs on the functions of modules that a guest has loaded (containers/guest/prove.c)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol, TypeVar

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.ssh import CommandError, GuestShell, ShellLostError, SilenceError
from kbtf_ci.guest.vm import GuestDiedError
from kbtf_ci.model.proof import (
    Answer,
    Difference,
    Function,
    ModuleProof,
    Traceable,
    cannot,
    differs,
    errno_name,
)

COMMAND: Final = ("/sbin/prove",)
_VMLINUX: Final = "vmlinux"
# Functions of one attachment: it takes the longer for each the more there are.
_AT_ONCE: Final = 512
_Item = TypeVar("_Item")


class Prover(Protocol):
    """What is done with a guest that has loaded all that it will."""

    def prove(self, shell: GuestShell, modules: Sequence[str], silence: float) -> None:
        """Try the modules of these names. What ends the guest is kept, and not raised."""


@dataclass(frozen=True)
class Provers:
    """Several, one after the other."""

    each: Sequence[Prover]

    def prove(self, shell: GuestShell, modules: Sequence[str], silence: float) -> None:
        """See Prover."""
        for one in self.each:
            one.prove(shell, modules, silence)


@dataclass(frozen=True)
class Named:
    """One that tries modules of these names, whatever the guest takes for loaded with its code."""

    prover: Prover
    names: tuple[str, ...]

    def prove(self, shell: GuestShell, modules: Sequence[str], silence: float) -> None:
        """See Prover."""
        self.prover.prove(shell, self.names, silence)


@dataclass
class FentryProver:
    """Loads a program for every function of each module, and attaches it.

    ``functions`` are those of each module by its name, ``probe`` one of vmlinux's, without which nothing is
    tried, ``config`` the kernel's. ``multi`` is the attach type of programs for many functions at once, 0
    for a kernel that has none, where one a module is attached. Of several guests at once each may call it.
    """

    functions: Mapping[str, Sequence[Function]]
    probe: Function
    config: Mapping[str, str]
    multi: int = 0
    told: Callable[[str], None] = lambda _: None
    found: list[ModuleProof] = field(default_factory=list)
    cannot: str = ""
    ended: str = ""
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def prove(self, shell: GuestShell, modules: Sequence[str], silence: float) -> None:
        """See Prover."""
        began = time.monotonic()
        try:
            self._prove(shell, [name for name in modules if self.functions.get(name)], silence)
        except (GuestDiedError, SilenceError, ShellLostError, CommandError) as error:
            self.ended = error.message
        with self._lock:
            self.seconds = max(self.seconds, time.monotonic() - began)

    def _prove(self, shell: GuestShell, modules: Sequence[str], silence: float) -> None:
        probe = self.probe.type_id
        asked = [f"btf {_VMLINUX}", f"load {probe}", f"attach {probe}", f"detach {probe}"]
        answers = [
            answer_of(line, ask) for line, ask in zip(ask_all(shell, asked, silence), asked, strict=True)
        ]
        failed = next((one.errno for one in answers if one.errno), 0)
        if failed:
            self.cannot = cannot(failed, self.config)
            return
        asks = {name: list(self._asks(name)) for name in modules}
        lines = ask_all(shell, (ask for name in modules for ask in asks[name]), silence)
        for number, name in enumerate(modules, 1):
            self._take(name, list(zip(islice(lines, len(asks[name])), asks[name], strict=True)))
            self.told(f"{number} of {len(modules)}, {name}")

    def _asks(self, name: str) -> Iterator[str]:
        functions = self.functions[name]
        yield f"btf {name}"
        for one in functions:
            yield " ".join(["load", str(one.type_id), *(str(argument.slot) for argument in one.arguments)])
        attachable = [str(one.type_id) for one in _attachable(functions)]
        if self.multi:
            for some in _chunks(attachable):
                yield " ".join(["multi", str(self.multi), *some])
        elif attachable:
            yield f"attach {attachable[0]}"

    def _take(self, name: str, said: Sequence[tuple[str, str]]) -> None:
        (opened, *answers), functions = [answer_of(line, ask) for line, ask in said], self.functions[name]
        if opened.errno:
            wrong = [Difference(name, "", "its BTF", "the kernel has none of that name")]
            proof = ModuleProof(name, (), tuple(wrong))
        else:
            wrong = list(_differences(name, functions, answers))
            attachable, tried = _attachable(functions), answers[len(functions) :]
            refused = self._not_attached(attachable, tried)
            wrong += [Difference(name, one.name, "attached", words) for one, words in refused]
            tries = len(attachable) if self.multi else min(1, len(attachable))
            attached = tries - len(refused) if tries else None
            proof = ModuleProof(name, tuple(functions), tuple(wrong), attached)
        with self._lock:
            self.found.append(proof)

    def _not_attached(
        self, attachable: Sequence[Function], answers: Sequence[Answer]
    ) -> list[tuple[Function, str]]:
        """Return the functions that no program was attached to, and why."""
        some = attachable if self.multi else attachable[:1]
        chunks = zip(_chunks(some), answers, strict=True)
        errors = {
            one: answer.errno or answer.arguments.get(one.type_id, 0)
            for chunk, answer in chunks
            for one in chunk
        }
        return [(one, f"{errno_name(error)}, attaching") for one, error in errors.items() if error]


def _attachable(functions: Iterable[Function]) -> list[Function]:
    return [one for one in functions if one.traceable is Traceable.ATTACHABLE]


def _chunks(some: Sequence[_Item]) -> list[Sequence[_Item]]:
    return [some[first : first + _AT_ONCE] for first in range(0, len(some), _AT_ONCE)]


def _differences(name: str, functions: Sequence[Function], answers: Sequence[Answer]) -> Iterator[Difference]:
    for function, answer in zip(functions, answers, strict=False):
        if (different := differs(function, answer)) is not None:
            yield Difference(name, function.name, *different)


def ask_all(shell: GuestShell, asks: Iterable[str], silence: float) -> Iterator[str]:
    """Yield a line of the guest's program for each question (containers/guest/prove.c).

    Raises what GuestShell.run() does.
    """
    return iter(shell.run(COMMAND, asks, silence=silence))


def answer_of(line: str, ask: str) -> Answer:
    """Return what one line of the program says. Raises InfrastructureError for any that is no answer."""
    head, dash, words = line.partition(" - ")
    parts = head.split()
    try:
        if parts[:2] != ask.split()[:2]:
            raise ValueError(line)
        pairs = (pair.split(":") for pair in parts[3:])
        arguments = {int(number): int(type_id) for number, type_id in pairs}
        return Answer(int(parts[2]), arguments, words if dash else "")
    except (ValueError, IndexError) as error:
        raise InfrastructureError(f"the guest answered {line[:200]!r} to {ask!r}") from error
