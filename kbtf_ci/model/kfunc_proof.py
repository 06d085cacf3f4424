# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether BPF programs can call a kernel's kfuncs: what is predicted, and what is seen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kbtf_ci.model.names import some
from kbtf_ci.model.proof import Answer, Difference, errno_name

VMLINUX: Final = "vmlinux"

# The verifier's words where a kfunc is of no use to a program, whatever its BTF says: kernel/bpf/verifier.c,
# check_kfunc_call(), and from 7.3 on its look at arguments; offload.c, bpf_dev_bound_kfunc_check().
_NOT_FOR_THIS_PROGRAM: Final = (
    " is not allowed",
    "metadata kfuncs require device-bound program",
    "requires a program with an associated arena",
)
# errno of the kernel's own, include/linux/errno.h: no JIT, or one that calls no kfuncs.
ENOTSUPP: Final = 524


@dataclass(frozen=True, slots=True)
class ProgramKind:
    """A type of programs: of the numbers of include/uapi/linux/bpf.h, and vmlinux's type that it is for."""

    name: str
    program_type: int
    attach_type: int = 0
    flags: int = 0
    type_id: int = 0

    @property
    def question(self) -> str:
        """What containers/guest/prove.c is asked."""
        numbers = (self.program_type, self.attach_type, self.flags, self.type_id)
        return " ".join(["program", self.name, *map(str, numbers)])


@dataclass(frozen=True, slots=True)
class RegisteredKfunc:
    """A kfunc in a set of a module or vmlinux, its ``owner``; ``unusable``: its broken rule, or ""."""

    owner: str
    type_id: int
    name: str
    unusable: str = ""


class KfuncState(StrEnum):
    """What the kernel makes of calls of one kfunc."""

    CALLABLE = "callable"  # a program of a type that may call it loads
    REFUSED = "refused"  # none does, of the types that may
    NOT_PROVEN = "not proven"  # no type of program was found that may


@dataclass(frozen=True, slots=True)
class KfuncAnswer:
    """What came of one kfunc: in what type of program, and why it was refused there."""

    kfunc: RegisteredKfunc
    seen: KfuncState
    program: str = ""
    why: str = ""


def may_call(called: Answer) -> bool:
    """Return whether a program of some type may call a kfunc, by what became of one that does.

    Without its arguments hardly any call is taken; that the kfunc is not for this type comes before them.
    """
    return not called.errno or not any(words in called.words for words in _NOT_FOR_THIS_PROGRAM)


def refusal(answer: Answer) -> str:
    """Return why a program was refused, in a line."""
    name = "ENOTSUPP" if answer.errno == ENOTSUPP else errno_name(answer.errno)
    return f"{name}: {answer.words}" if answer.words else name


@dataclass(frozen=True)
class LiveCall:
    """A program that calls kfuncs and was run; ``difference``: what it returned otherwise, "" for nothing."""

    name: str
    kfuncs: tuple[str, ...]
    difference: str = ""


@dataclass(frozen=True)
class KfuncProof:
    """What came of all kfuncs; ``cannot`` says why this kernel calls none, "" where it does.

    ``programs`` are the types of program that could be loaded, ``ended`` is what ended a guest under them,
    ``unreached`` are modules with kfuncs that no guest had loaded with their code, ``seconds`` the time.
    """

    answers: tuple[KfuncAnswer, ...] = ()
    live: tuple[LiveCall, ...] = ()
    programs: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    cannot: str = ""
    ended: str = ""
    seconds: float = 0.0

    def of(self, seen: KfuncState) -> tuple[KfuncAnswer, ...]:
        """Return the kfuncs of which the kernel said that."""
        return tuple(one for one in self.answers if one.seen is seen)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What is otherwise than predicted."""
        return tuple(self._differences())

    def _differences(self) -> Iterator[Difference]:
        for one in self.answers:
            kfunc = one.kfunc
            if one.seen is KfuncState.REFUSED and not kfunc.unusable:
                yield Difference(kfunc.owner, kfunc.name, "callable", f"{one.why} (program: {one.program})")
            elif one.seen is KfuncState.CALLABLE and kfunc.unusable:
                seen = f"callable (program: {one.program})"
                yield Difference(kfunc.owner, kfunc.name, f"unusable ({kfunc.unusable})", seen)
        for call in self.live:
            if call.difference:
                yield Difference(call.name, ", ".join(call.kfuncs), "runs", call.difference)

    @property
    def headline(self) -> str:
        """What is not as predicted, or could not be found out at all, in a line; "" for nothing."""
        if self.cannot or self.ended:
            return self.cannot or f"a guest ended under programs that call kfuncs: {self.ended}"
        names = [f"{one.module}:{one.function}" for one in self.differences]
        return f"calls of kfuncs do otherwise than predicted: {some(names)}" if names else ""


@dataclass(frozen=True)
class LiveProgram:
    """A program of containers/guest/kfunc.c that is run: in what type, which kfuncs, and what it returns."""

    name: str
    program: str
    kfuncs: tuple[str, ...]
    returns: int


LIVE: Final[Sequence[LiveProgram]] = (
    # ENOENT: in a guest without a network there is no such connection.
    LiveProgram("conntrack", "xdp", ("bpf_xdp_ct_lookup", "bpf_ct_release"), 2),
    LiveProgram("cpumask", "syscall", ("bpf_cpumask_create", "bpf_cpumask_release"), 1),
)
