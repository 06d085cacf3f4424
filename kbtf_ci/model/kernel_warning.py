# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the kernel complained of and survived: a warning, a lockup that ended, a finding of its checkers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum


class WarningKind(StrEnum):
    """Which of the kernel's checks spoke; the value is its name in results.json."""

    WARNING = "warning"
    BUG = "bug"
    OOPS = "oops"
    KASAN = "kasan"
    KCSAN = "kcsan"
    KFENCE = "kfence"
    KMSAN = "kmsan"
    UBSAN = "ubsan"
    LOCKDEP = "lockdep"
    RCU_STALL = "rcu-stall"
    SOFT_LOCKUP = "soft-lockup"
    HARD_LOCKUP = "hard-lockup"
    HUNG_TASK = "hung-task"
    WORKQUEUE_LOCKUP = "workqueue-lockup"
    SPINLOCK_LOCKUP = "spinlock-lockup"
    CSD_LOCK = "csd-lock"
    SPINLOCK = "spinlock"
    ATOMIC_CONTEXT = "atomic-context"
    REFCOUNT = "refcount"
    LIST_CORRUPTION = "list-corruption"
    DEBUG_OBJECTS = "debug-objects"
    CFI = "cfi"
    MSR = "msr"
    BAD_PAGE = "bad-page"
    SLAB = "slab"
    KMEMLEAK = "kmemleak"
    IRQ = "irq"

    @property
    def is_stall(self) -> bool:
        """Whether it says that something took too long: a host that gave the guest no time does that too."""
        return self in _STALLS


_STALLS = frozenset({
    WarningKind.RCU_STALL, WarningKind.SOFT_LOCKUP, WarningKind.HARD_LOCKUP, WarningKind.HUNG_TASK,
    WarningKind.WORKQUEUE_LOCKUP, WarningKind.SPINLOCK_LOCKUP, WarningKind.CSD_LOCK,
})  # fmt: skip

_HOST = "; the guest is emulated, and a host that gave it no time may be to blame"

# What differs between two occurrences of one warning: CPU, PID, seconds, addresses; not the line of a file.
VARYING = re.compile(r"(?<![\w.])(?<!\.[chS]:)(?:0x[0-9a-f]+|[0-9a-f]{8,}|\d+)")


@dataclass(frozen=True)
class KernelWarning:
    """One warning.

    ``lines`` are the first ones of the kernel's report, ``headline`` that one of them that says what it is.
    ``module`` is the module it belongs to, "" for none. ``host_may_be_to_blame``: a stall of an emulated
    guest, which a busy host causes as well. ``times`` counts occurrences.
    """

    kind: WarningKind
    headline: str
    lines: tuple[str, ...]
    module: str = ""
    host_may_be_to_blame: bool = False
    times: int = 1

    @property
    def title(self) -> str:
        """Its kind, how often it came, and whether the host may have done it."""
        times = f", {self.times} times" if self.times > 1 else ""
        return f"{self.kind.value}{times}{_HOST if self.host_may_be_to_blame else ''}"

    @property
    def identity(self) -> tuple[str, str, str]:
        """What two occurrences of one warning have in common."""
        return (self.module, self.kind.value, VARYING.sub("#", self.headline))


def merge(warnings: Iterable[KernelWarning]) -> tuple[KernelWarning, ...]:
    """Return each warning once, in the order of their first occurrences, with how often it came."""
    found: dict[tuple[str, str, str], KernelWarning] = {}
    for one in warnings:
        known = found.get(one.identity)
        found[one.identity] = one if known is None else replace(known, times=known.times + one.times)
    return tuple(found.values())
