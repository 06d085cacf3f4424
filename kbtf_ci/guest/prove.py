# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""fentry programs on the functions of modules that a guest has loaded (containers/guest/prove.c)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol

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


class Prover(Protocol):
    """What is done with a guest that has loaded all that it will."""

    def prove(self, shell: GuestShell, modules: Sequence[str], silence: float) -> None:
        """Try the modules of these names. What ends the guest is kept, and not raised."""


@dataclass
class FentryProver:
    """Loads a program for every function of each module, and attaches one a module.

    ``functions`` are those of each module by its name, ``probe`` one of vmlinux's, without which nothing is
    tried, ``config`` the kernel's. Of several guests at once each may call it.
    """

    functions: Mapping[str, Sequence[Function]]
    probe: Function
    config: Mapping[str, str]
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
        answers = [_answer(line, ask) for line, ask in zip(_lines(shell, asked, silence), asked, strict=True)]
        failed = next((one.errno for one in answers if one.errno), 0)
        if failed:
            self.cannot = cannot(failed, self.config)
            return
        asks = {name: list(_asks(name, self.functions[name])) for name in modules}
        lines = _lines(shell, (ask for name in modules for ask in asks[name]), silence)
        for number, name in enumerate(modules, 1):
            self._take(name, list(zip(islice(lines, len(asks[name])), asks[name], strict=True)))
            self.told(f"{number} of {len(modules)}, {name}")

    def _take(self, name: str, said: Sequence[tuple[str, str]]) -> None:
        (opened, *loads), functions = [_answer(line, ask) for line, ask in said], self.functions[name]
        if opened.errno:
            wrong = [Difference(name, "", "its BTF", "the kernel has none of that name")]
            proof = ModuleProof(name, (), tuple(wrong))
        else:
            wrong = list(_differences(name, functions, loads))
            attached, function = None, _attachable(functions)
            if function is not None:
                error = loads[-1].errno
                attached = error == 0
                if error:
                    words = f"{errno_name(error)}, attaching"
                    wrong.append(Difference(name, function.name, "attached", words))
            proof = ModuleProof(name, tuple(functions), tuple(wrong), attached)
        with self._lock:
            self.found.append(proof)


def _asks(name: str, functions: Sequence[Function]) -> Iterator[str]:
    yield f"btf {name}"
    for one in functions:
        yield " ".join(["load", str(one.type_id), *(str(argument.slot) for argument in one.arguments)])
    if (attachable := _attachable(functions)) is not None:
        yield f"attach {attachable.type_id}"


def _attachable(functions: Iterable[Function]) -> Function | None:
    return next((one for one in functions if one.traceable is Traceable.ATTACHABLE), None)


def _differences(name: str, functions: Sequence[Function], answers: Sequence[Answer]) -> Iterator[Difference]:
    for function, answer in zip(functions, answers, strict=False):
        if (different := differs(function, answer)) is not None:
            yield Difference(name, function.name, *different)


def _lines(shell: GuestShell, asks: Iterable[str], silence: float) -> Iterator[str]:
    return iter(shell.run(COMMAND, asks, silence=silence))


def _answer(line: str, ask: str) -> Answer:
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
