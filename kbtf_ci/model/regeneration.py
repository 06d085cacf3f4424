# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether kbuild wrote just the BTF it should: pure judgement of a tree before and after one make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from kbtf_ci.errors import ExitCode, KbtfError
from kbtf_ci.model.outcome import Outcome


class Scenario(Enum):
    """What was done to a finished build before make was called again; the value is its name for users."""

    NOTHING = "nothing"
    TOUCHED = "vmlinux-touched"
    BTF_CHANGED = "vmlinux-btf-changed"
    CODE_CHANGED = "vmlinux-code-changed"
    SOURCE_CHANGED = "module-changed"
    DELETED = "module-deleted"
    STRIPPED = "btf-stripped"
    PAHOLE_CHANGED = "pahole-changed"

    @property
    def vmlinux_is_newer(self) -> bool:
        """Whether make finds a vmlinux newer than the modules."""
        return self in (Scenario.TOUCHED, Scenario.BTF_CHANGED, Scenario.CODE_CHANGED)

    @property
    def module_is_older(self) -> bool:
        """Whether make finds one module missing or older than its objects."""
        return self in (Scenario.SOURCE_CHANGED, Scenario.DELETED)


class Rule(Enum):
    """What a kernel's scripts/Makefile.modfinal does with a module when only vmlinux is newer."""

    KEPT = "BTF is written again, modules are not linked again"
    RELINKED = "modules are linked again and BTF is written again"
    FORGOTTEN = "nothing: vmlinux is no prerequisite of modules"


@dataclass(frozen=True)
class ModuleState:
    """One ``.ko``: digests of what its BTF is made from, of its ``.BTF`` and ``.BTF_ids`` ("" for none)."""

    inputs: str
    btf: str
    ids: str = ""


@dataclass(frozen=True)
class TreeState:
    """A build directory: digest of vmlinux's ``.BTF``, and the modules that are there by path."""

    base: str
    modules: Mapping[str, ModuleState]


@dataclass(frozen=True)
class Usage:
    """What one make cost, with all it started: seconds, and KiB of its largest process.

    ``base_cpu_s`` and ``modules_cpu_s`` are the CPU seconds that went into BTF of vmlinux and of modules, by
    pahole and resolve_btfids; ``modules_link_cpu_s`` are the linker's for modules, ``base_link_cpu_s`` those
    for all else: vmlinux, boot image. ``modules_ids_cpu_s`` is what resolve_btfids took of ``modules_cpu_s``,
    which no server does. ``hits`` and ``misses`` count modules that the cache was asked for,
    ``served`` those that a server wrote, ``fallbacks`` those that pahole itself wrote in its place.
    """

    wall_s: float
    user_s: float
    system_s: float
    peak_kib: int
    base_cpu_s: float = 0.0
    modules_cpu_s: float = 0.0
    base_link_cpu_s: float = 0.0
    modules_link_cpu_s: float = 0.0
    hits: int = 0
    misses: int = 0
    served: int = 0
    fallbacks: int = 0
    modules_ids_cpu_s: float = 0.0

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s

    @property
    def rest_cpu_s(self) -> float:
        """CPU seconds that went neither into BTF nor into the linker: make itself, compiler, boot image."""
        told = self.base_cpu_s + self.modules_cpu_s + self.base_link_cpu_s + self.modules_link_cpu_s
        return self.cpu_s - told


@dataclass(frozen=True)
class Ran:
    """What one make did: modules by ``LD [M]`` and ``BTF [M]`` lines, and whether vmlinux was linked."""

    linked: frozenset[str]
    written: frozenset[str]
    vmlinux: bool
    usage: Usage


@dataclass(frozen=True)
class Boot:
    """What a kernel said that was booted as make left it: the outcome of each module, by path.

    ``disagreements`` are the modules of which the offline check had predicted otherwise; ``error`` ended the
    guest early.
    """

    accel: str
    boot_s: float
    outcomes: Mapping[str, Outcome]
    disagreements: tuple[str, ...] = ()
    error: KbtfError | None = None

    @property
    def exit_code(self) -> ExitCode:
        """What the guest died of, else 1 when BTF was refused; a module without BTF is fine here."""
        if self.error is not None:
            return self.error.exit_code
        fine = {Outcome.VERIFIED, Outcome.NO_BTF}
        return ExitCode.VERIFIED if fine.issuperset(self.outcomes.values()) else ExitCode.NOT_VERIFIED


@dataclass(frozen=True)
class Served:
    """The same make with modules' BTF by a server: ``differing`` got other BTF than from pahole itself."""

    ran: Ran
    differing: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """One scenario's end; all modules by path, sorted.

    ``due`` had to get new BTF; ``missed`` are those of them that did not; ``stale`` hold BTF that is not of
    this vmlinux and this module; ``lost_btf`` have no BTF where they had some; ``unnecessary`` got BTF though
    nothing had changed that BTF is made from; ``btf_ids_reordered`` have the BTF they had but another
    ``.BTF_ids``: resolve_btfids sorts the pairs of id and flags of a BTF_SET8, and run again on what it
    sorted it gives kfuncs each other's flags. ``expected`` is what the rule predicts, in numbers: linked and
    written. ``check`` maps modules to what the offline check says of them; ``boot`` is what a boot said,
    ``server`` what a server made of it.
    """

    scenario: Scenario
    ran: Ran
    due: tuple[str, ...]
    missed: tuple[str, ...]
    stale: tuple[str, ...]
    lost_btf: tuple[str, ...]
    unnecessary: tuple[str, ...]
    btf_ids_reordered: tuple[str, ...]
    expected: tuple[int, int]
    check: Mapping[str, str]
    boot: Boot | None = None
    server: Served | None = None

    @property
    def exit_code(self) -> ExitCode:
        """1 when stale BTF was left behind, or a server wrote other BTF; else what a boot says."""
        if self.stale or (self.server is not None and self.server.differing):
            return ExitCode.NOT_VERIFIED
        return self.boot.exit_code if self.boot is not None else ExitCode.VERIFIED

    @property
    def as_expected(self) -> bool:
        """Whether kbuild did what its own rule says."""
        return self.expected == (len(self.ran.linked), len(self.ran.written))


def judge(
    scenario: Scenario,
    rule: Rule,
    states: tuple[TreeState, TreeState, TreeState],
    ran: Ran,
    check: Mapping[str, str],
) -> Finding:
    """Hold what make did against what had changed.

    ``states`` are the finished build, the same just before make, and after it. ``check`` maps modules to the
    offline check's complaint after it, and names only those of which there is one.
    """
    first, before, after = states
    changed = {file for file in after.modules if _inputs(file, first) != _inputs(file, after)}
    if scenario is Scenario.PAHOLE_CHANGED:
        changed |= set(after.modules)
    had = {file for file, module in first.modules.items() if module.btf}
    due = changed | {file for file in had if not _btf(file, before)}
    missed = due - ran.written
    other_pahole = scenario is Scenario.PAHOLE_CHANGED
    stale = {file for file in missed if _btf(file, after) and not other_pahole} | set(check)
    lost_btf = {file for file in had if not _btf(file, after)}
    return Finding(
        scenario=scenario,
        ran=ran,
        due=_sorted(due),
        missed=_sorted(missed),
        stale=_sorted(stale - lost_btf),
        lost_btf=_sorted(lost_btf),
        unnecessary=_sorted(ran.written - due),
        btf_ids_reordered=_sorted(btf_ids_reordered(first, after)),
        expected=_expected(scenario, rule, len(first.modules)),
        check=check,
    )


def btf_ids_reordered(first: TreeState, now: TreeState) -> frozenset[str]:
    """Return the modules whose BTF is as it was, but not the ids and flags of their kfuncs."""
    both = first.modules.keys() & now.modules.keys()
    pairs = ((file, first.modules[file], now.modules[file]) for file in both)
    return frozenset(file for file, old, new in pairs if old.btf == new.btf and old.ids != new.ids)


def _expected(scenario: Scenario, rule: Rule, modules: int) -> tuple[int, int]:
    if scenario.vmlinux_is_newer:
        return {Rule.KEPT: (0, modules), Rule.RELINKED: (modules, modules), Rule.FORGOTTEN: (0, 0)}[rule]
    # make knows times, not contents: a .ko without its BTF is newer than all it is made from, and a pahole of
    # the same name is the same pahole.
    return (1, 1) if scenario.module_is_older else (0, 0)


def _inputs(file: str, state: TreeState) -> tuple[str, str]:
    module = state.modules.get(file)
    return (state.base, module.inputs if module else "")


def _btf(file: str, state: TreeState) -> str:
    module = state.modules.get(file)
    return module.btf if module else ""


def _sorted(files: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(files))


@dataclass(frozen=True)
class CommitTiming:
    """What the commit printed of ``touch vmlinux; make -j60``: seconds."""

    wall_s: float
    user_s: float
    system_s: float

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s


# From the message of Linux commit 5f9ae91f, on 56 cores with "about 700 kernel modules".
COMMIT_BEFORE = CommitTiming(4.933, 27.65, 10.96)
COMMIT_AFTER = CommitTiming(9.675, 123.69, 27.85)
COMMIT_CORES, COMMIT_JOBS, COMMIT_MODULES = 56, 60, 700
