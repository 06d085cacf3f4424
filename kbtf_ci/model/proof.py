# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether BPF programs can use what modules' BTF describes: what is predicted, and what is seen. Pure."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kbtf_ci.model.names import some


class Prove(StrEnum):
    """What programs are tried with."""

    FENTRY = "fentry"  # every function of every module
    KFUNC = "kfunc"  # every kfunc of every module and of vmlinux
    ALL = "all"


class Traceable(StrEnum):
    """What a kernel makes of an fentry program for a function (btf/usable/fentry.py has the source)."""

    ATTACHABLE = "attachable"  # it loads, and attaches
    NO_LOCATION = "no location"  # it loads; ftrace has no place at its beginning
    INIT = "init"  # its code is gone once the module is loaded: ENOENT
    SUFFIX = "suffix"  # the compiler left only .isra, .constprop and the like of it, or nothing: ENOENT
    SIGNATURE = "signature"  # variadic, too many arguments, or one of a size that none may have: EINVAL


_ERRNO: Final = {
    Traceable.INIT: errno.ENOENT,
    Traceable.SUFFIX: errno.ENOENT,
    Traceable.SIGNATURE: errno.EINVAL,
}


@dataclass(frozen=True, slots=True)
class StructArgument:
    """An argument that points to a struct or union: its number, its 8-byte slot, and the type's id."""

    number: int
    slot: int
    type_id: int


@dataclass(frozen=True, slots=True)
class Function:
    """A FUNC of a module's BTF and what is predicted of it."""

    type_id: int
    name: str
    traceable: Traceable
    arguments: tuple[StructArgument, ...] = ()

    @property
    def errno(self) -> int:
        """What a load of its program is to end with, 0 for none."""
        return _ERRNO.get(self.traceable, 0)


@dataclass(frozen=True)
class Answer:
    """What the verifier said: errno, what it takes each argument for (number to type id), and its words."""

    errno: int
    arguments: Mapping[int, int] = field(default_factory=dict)
    words: str = ""


@dataclass(frozen=True)
class Difference:
    """A function of which the kernel says otherwise than was predicted."""

    module: str
    function: str
    expected: str
    seen: str


def differs(function: Function, answer: Answer) -> tuple[str, str] | None:
    """Return what was expected and what was seen where the two differ."""
    if answer.errno != function.errno:
        expected = f"{function.traceable} ({errno_name(function.errno)})"
        return expected, f"{errno_name(answer.errno)}{f': {answer.words}' if answer.words else ''}"
    if answer.errno:
        return None
    expected_types = {one.number: one.type_id for one in function.arguments}
    if dict(answer.arguments) != expected_types:
        return _types(expected_types), _types(answer.arguments)
    return None


def errno_name(number: int) -> str:
    """Return an errno as C calls it, "loads" for none."""
    return errno.errorcode.get(number, str(number)) if number else "loads"


def _types(arguments: Mapping[int, int]) -> str:
    told = (f"arg{number} is [{type_id}]" for number, type_id in sorted(arguments.items()))
    return ", ".join(told) or "no struct"


@dataclass(frozen=True)
class ModuleProof:
    """What came of one module's functions.

    ``attached`` is to how many of them a program was attached, None where none is predicted to be attachable.
    """

    module: str
    functions: tuple[Function, ...]
    differences: tuple[Difference, ...] = ()
    attached: int | None = None


@dataclass(frozen=True)
class Proof:
    """What came of all modules; ``cannot`` says why this kernel runs no such programs, "" where it does.

    ``ended`` is what ended a guest under them. ``unreached`` are modules that no guest had loaded with their
    code, ``seconds`` is the time of all programs.
    """

    modules: tuple[ModuleProof, ...] = ()
    unreached: tuple[str, ...] = ()
    cannot: str = ""
    ended: str = ""
    seconds: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """How many functions were as predicted, by what that was."""
        wrong = {(one.module, one.function) for one in self.differences}
        found = Counter(
            function.traceable.value
            for module in self.modules
            for function in module.functions
            if (module.module, function.name) not in wrong
        )
        return {kind.value: found[kind.value] for kind in Traceable}

    @property
    def differences(self) -> tuple[Difference, ...]:
        """All of them, module by module."""
        return tuple(one for module in self.modules for one in module.differences)

    @property
    def functions(self) -> int:
        """How many functions there were."""
        return sum(len(module.functions) for module in self.modules)

    @property
    def attached(self) -> int:
        """How many modules have a function that a program was attached to."""
        return sum(bool(module.attached) for module in self.modules)

    @property
    def attached_functions(self) -> int:
        """To how many functions one was attached: where the kernel cannot to many at once, one a module."""
        return sum(module.attached or 0 for module in self.modules)

    @property
    def headline(self) -> str:
        """What is not as predicted, or could not be found out at all, in a line; "" for nothing."""
        if self.cannot or self.ended:
            return self.cannot or f"a guest ended under fentry programs: {self.ended}"
        names = sorted({f"{one.module}:{one.function}" for one in self.differences})
        return f"fentry programs do otherwise than predicted on {some(names)}" if names else ""


# What must be configured for fentry programs on modules' functions, for the words of a kernel that cannot.
WANTED: Final = (
    "CONFIG_BPF_JIT",
    "CONFIG_BPF_EVENTS",
    "CONFIG_FUNCTION_TRACER",
    "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS",
)


def cannot(answer_errno: int, config: Mapping[str, str]) -> str:
    """Return why a kernel takes no fentry program on a function of vmlinux's, by its configuration."""
    missing = [name for name in WANTED if config and config.get(name) != "y"]
    why = f"{', '.join(missing)} not set" if missing else "no reason in its configuration"
    return f"this kernel takes no fentry program on vmlinux either ({errno_name(answer_errno)}): {why}"


def merged(proofs: Iterable[ModuleProof], wanted: Sequence[str]) -> Iterator[ModuleProof]:
    """Yield a proof for each module once, in the order of ``wanted``: a module may be in two guests."""
    by_name = {one.module: one for one in proofs}
    yield from (by_name[name] for name in wanted if name in by_name)
