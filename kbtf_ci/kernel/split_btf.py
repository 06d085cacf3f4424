# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Split BTF outside of a kernel build: pahole over many modules, by a server that parses the base once."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.runner import Command, Mount, Runner
from kbtf_ci.kernel import split_btf_worker
from kbtf_ci.kernel.accounts import Call, read_accounts
from kbtf_ci.kernel.btfcache import PROGRAM, Wrapper
from kbtf_ci.kernel.pahole import ALLOCATION, Pahole
from kbtf_ci.model.encoded import Route

BASE: Final = "vmlinux.btf"
MAX_FOLDERS: Final = 64  # each is a mount of the container's

_WORK = "/work"
_WORKER = "/opt/kbtf-ci/split_btf_worker.py"
_FOLDERS = "/modules"


@dataclass(frozen=True)
class Place:
    """A module: a folder that is given to the container, and its path there."""

    folder: Path
    file: str

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.folder / self.file


@dataclass(frozen=True)
class Written:
    """The end of module ``number``: ``result`` is a copy with its BTF, or its BTF alone; or its fault.

    ``said`` is what pahole said besides, with the module's place in it by its number.
    """

    number: int
    result: Path
    fault: str
    said: str


@dataclass(frozen=True)
class SplitBtf:
    """How BTF is written: ``work`` is a folder with the base's BTF in it (BASE) for all that comes of it.

    ``detached`` has the BTF alone written, ``wrapper`` is what stands before pahole, without which
    no call is entered in accounts, and ``allocation`` what pahole has in its environment besides.
    """

    runner: Runner
    work: Path
    pahole: Pahole
    jobs: int
    detached: bool
    wrapper: Wrapper | None
    allocation: Mapping[str, str] = field(default_factory=lambda: ALLOCATION)

    def write(self, places: Sequence[Place], on_written: Callable[[Written], None]) -> None:
        """Have pahole write the BTF of every module, which is only read, and tell of each as it ends.

        Raises InfrastructureError when the work itself cannot be done.
        """
        folders = list(dict.fromkeys(place.folder for place in places))
        numbers = {folder: number for number, folder in enumerate(folders)}
        words = [word for place in places for word in (str(numbers[place.folder]), place.file)]
        (self.work / "list").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
        lines = _Lines(self.work, ".btf" if self.detached else ".ko", on_written)
        with self.runner.start(self._command(folders)) as process:
            while piece := process.read():
                lines.feed(piece)
            status = process.wait()
        if status != 0 or lines.told != len(places):
            raise InfrastructureError(f"encoding ended with exit status {status}: {lines.last_words}")

    def routes(self, count: int) -> Mapping[int, Route]:
        """Return who wrote the BTF of each module; nothing of one that was not told of."""
        if self.wrapper is None:
            return dict.fromkeys(range(count), Route.ALONE)
        routes = {}
        for call in self.calls():
            name = Path(call.subject).stem
            if not call.outside and name.isdecimal():
                routes[int(name)] = Route(call.route or Route.ALONE)
        return routes

    def calls(self) -> tuple[Call, ...]:
        """Return what each call cost."""
        return read_accounts(self.work)

    def _command(self, folders: Sequence[Path]) -> Command:
        targets = [f"{_FOLDERS}/{number}" for number in range(len(folders))]
        program = self.pahole.program if self.wrapper is None else PROGRAM
        call = (program, "-J", *self.pahole.flags, "--btf_base", f"{_WORK}/{BASE}")
        form = "detached" if self.detached else "whole"
        mounts = (
            Mount(self.work, _WORK, writable=True),
            Mount(Path(split_btf_worker.__file__), _WORKER),
            *map(Mount, folders, targets),
            *self.pahole.mounts,
        )
        wrapped = {} if self.wrapper is None else self.wrapper.environment(self.pahole.program)
        accounts = {"KBTF_CI_ACCOUNTS": f"{_WORK}/calls"}
        env = {**self.allocation, "LLVM_OBJCOPY": "objcopy", **accounts, **wrapped}
        argv = ("python3", "-I", _WORKER, _WORK, str(self.jobs), form, *targets, "--", *call)
        return Command(argv, mounts, env, workdir=_WORK, label="encode")


class _Lines:
    """Takes the worker's output apart; what is no line of its own is kept as its last words."""

    def __init__(self, work: Path, suffix: str, on_written: Callable[[Written], None]) -> None:
        self._work = work
        self._suffix = suffix
        self._on_written = on_written
        self._rest = b""
        self.told = 0
        self.last_words = "it said nothing"

    def feed(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(line.decode(errors="replace"))

    def _line(self, line: str) -> None:
        number, *rest = line.split("\t")
        if number.isdecimal() and len(rest) == 2:
            self.told += 1
            result = self._work / f"{number}{self._suffix}"
            self._on_written(Written(int(number), result, *rest))
        else:
            self.last_words = line


def by_name(number: int, text: str, file: str) -> str:
    """Return pahole's words with the user's name for module ``number`` in them."""
    return re.sub(rf"\S*/{number}\.(?:ko|btf)\b", lambda _: file, text)
