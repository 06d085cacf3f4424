# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The vocabulary of verdicts, and the pure function that reaches one: expected x observed -> outcome."""

from __future__ import annotations

import errno as errno_module
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.kernel_warning import KernelWarning, merge
from kbtf_ci.model.module import Module


class LoadMode(StrEnum):
    """How a module was put before the kernel (docs/architecture.md, section 4)."""

    REAL = "real"
    INERT = "inert"
    CARRIER = "carrier"


class LoadPolicy(StrEnum):
    """What ``--load`` takes: one mode for all, or real with inert for what could not stay loaded."""

    AUTO = "auto"
    REAL = "real"
    INERT = "inert"
    CARRIER = "carrier"


LOAD_POLICIES: Final = {
    LoadPolicy.AUTO: "real, and inert where the init function refuses; carrier for more than 1,500 modules",
    LoadPolicy.REAL: "as it was built, its dependencies first",
    LoadPolicy.INERT: (
        "the same bytes without the relocations that lead to its init and exit functions: no driver code runs"
    ),
    LoadPolicy.CARRIER: "its BTF in a module with nothing but what the kernel reads before and for it",
}


class Outcome(StrEnum):
    """The verdict on one module (docs/architecture.md, section 5)."""

    VERIFIED = "VERIFIED"
    MISMATCH = "MISMATCH"
    REJECTED = "REJECTED"
    DROPPED = "DROPPED"
    NO_BTF = "NO_BTF"
    LOAD_FAILED = "LOAD_FAILED"
    NOT_REACHED = "NOT_REACHED"
    UNREADABLE = "UNREADABLE"


OUTCOMES: Final = {
    Outcome.VERIFIED: "/sys/kernel/btf/<name> was there and its bytes are the module's .BTF",
    Outcome.MISMATCH: "it was there, with other bytes",
    Outcome.REJECTED: "the kernel refused the BTF",
    Outcome.DROPPED: "the module loaded, its BTF is not there (CONFIG_MODULE_ALLOW_BTF_MISMATCH)",
    Outcome.NO_BTF: "the .ko has no .BTF",
    Outcome.LOAD_FAILED: "not loaded, for a reason that is not its BTF",
    Outcome.NOT_REACHED: "the run ended first",
    Outcome.UNREADABLE: (
        "the .ko is empty, cut short, damaged, or a link to nothing; the others are judged. Also: BTF of "
        "kinds that kbtf-ci does not know, where the kernel's own BTF says that it knows more"
    ),
}


class Death(StrEnum):
    """How a guest ended under a module's load."""

    PANIC = "panic"
    OOPS = "oops"
    HANG = "hang"
    RESET = "reset"


@dataclass(frozen=True)
class Observation:
    """What the guest said of one attempt to load one module.

    ``errno`` is 0 when the load succeeded, positive otherwise. ``sysfs_bytes`` and ``sysfs_sha256``
    describe ``/sys/kernel/btf/<name>`` right after the load, None where there is no such file. ``log``
    holds the kernel's lines of this load. ``death`` is set when the guest ended under it; errno and
    sysfs then say nothing.
    """

    name: str
    mode: LoadMode
    errno: int = 0
    sysfs_bytes: int | None = None
    sysfs_sha256: str | None = None
    log: tuple[str, ...] = ()
    death: Death | None = None
    load_us: int = 0


@dataclass(frozen=True)
class ModuleResult:
    """One module's verdict, with the attempt that gave it (``observation`` None: never attempted).

    ``earlier`` holds attempts in other modes that came before it, ``warnings`` what the kernel complained of
    meanwhile.
    """

    module: Module
    outcome: Outcome
    observation: Observation | None = None
    earlier: tuple[Observation, ...] = ()
    reason: str = ""
    warnings: tuple[KernelWarning, ...] = ()


# kernel/bpf/btf.c, btf_module_notify(): printed when the module's BTF is refused. From 5.18 to 6.2 it is
# printed as well where CONFIG_MODULE_ALLOW_BTF_MISMATCH lets the load go on, so errno decides.
_REFUSED = re.compile(r"failed to validate module \[(?P<name>[^\]]+)\] BTF: -?\d+")


# tools/lib/bpf/btf_relocate.c, btf_relocate(): type ids and string offsets are rewritten in place.
_RELOCATED = " as moved from its .BTF.base to vmlinux's"


def btf_refused(observation: Observation) -> bool:
    """Whether this attempt failed because the kernel refused the module's BTF, by its own word."""
    if observation.errno == 0 or observation.death is not None:
        return False
    found = (_REFUSED.search(line) for line in observation.log)
    return any(match is not None and match["name"] == observation.name for match in found)


def wants_inert(observation: Observation) -> bool:
    """Whether ``--load auto`` tries the module again inert: not loaded, for a reason that is not its BTF."""
    return not btf_refused(observation) and (observation.errno != 0 or observation.death is not None)


def judge(module: Module, observations: Sequence[Observation], moved_sha256: str = "") -> ModuleResult:
    """Return the verdict on ``module`` from all attempts to load it, oldest first.

    The last attempt decides; what was not observed is never a pass. ``moved_sha256`` is what the BTF of a
    module with ``.BTF.base`` must hash to once the kernel has moved it to vmlinux's; "" where that is not
    known.
    """
    if module.fault:
        return ModuleResult(module, Outcome.UNREADABLE, reason=module.fault)
    if not module.has_btf:
        last = observations[-1] if observations else None
        return ModuleResult(module, Outcome.NO_BTF, last, reason=module.no_btf_reason)
    if not observations:
        return ModuleResult(module, Outcome.NOT_REACHED)
    last = observations[-1]
    moved = moved_sha256 if module.base_bytes else ""
    outcome, reason = _judge_attempt(module, last, moved or module.btf_sha256)
    return ModuleResult(module, outcome, last, tuple(observations[:-1]), reason)


def _judge_attempt(module: Module, seen: Observation, expected: str) -> tuple[Outcome, str]:
    if seen.death is not None:
        return Outcome.LOAD_FAILED, f"the guest died under its load ({seen.death})"
    if btf_refused(seen):
        return Outcome.REJECTED, f"the kernel refused the BTF: {errno_text(seen.errno)}"
    if seen.errno != 0:
        return Outcome.LOAD_FAILED, f"not loaded: {errno_text(seen.errno)}"
    if seen.sysfs_sha256 is None:
        return Outcome.DROPPED, f"loaded, but there is no /sys/kernel/btf/{module.name}"
    if (seen.sysfs_bytes, seen.sysfs_sha256) == (module.btf_bytes, expected):
        return Outcome.VERIFIED, ""
    return Outcome.MISMATCH, (
        f"/sys/kernel/btf/{module.name} holds {seen.sysfs_bytes} bytes that are not the .ko's "
        f"{module.btf_bytes}{_RELOCATED if module.base_bytes else ''}"
    )


def with_warnings(
    results: Iterable[ModuleResult], warnings: Iterable[KernelWarning]
) -> tuple[tuple[ModuleResult, ...], tuple[KernelWarning, ...]]:
    """Return ``results`` with the kernel's warnings of their modules, and the warnings of none of them."""
    merged = merge(warnings)
    warned = tuple(
        replace(result, warnings=tuple(one for one in merged if one.module == result.module.name))
        for result in results
    )
    names = {result.module.name for result in warned}
    return warned, tuple(one for one in merged if one.module not in names)


def errno_text(number: int) -> str:
    """Return a positive errno as ``ENODEV (-19)``; kernel-internal ones have no name."""
    name = {524: "ENOTSUPP"}.get(number) or errno_module.errorcode.get(number, "unknown errno")
    return f"{name} ({-number})"


def exit_code(results: Iterable[ModuleResult]) -> ExitCode:
    """Return 0 when there are results and every one is VERIFIED, else 1."""
    outcomes = [result.outcome for result in results]
    if outcomes and all(outcome is Outcome.VERIFIED for outcome in outcomes):
        return ExitCode.VERIFIED
    return ExitCode.NOT_VERIFIED


def only_unreadable(results: Iterable[ModuleResult]) -> bool:
    """Return whether some modules could not be read and nothing else is wrong: no word on the kernel."""
    faults = {result.outcome for result in results if result.outcome is not Outcome.VERIFIED}
    return faults == {Outcome.UNREADABLE}
