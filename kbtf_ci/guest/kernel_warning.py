# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Lines of the kernel's log -> its warnings. Pure.

Every headline names the kernel source of its words, as of Linux 5.11 to 7.1; where they changed, each
spelling is taken. A headline counts at the start of a line only: a driver that speaks of a warning puts its
name first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kbtf_ci.model.kernel_warning import KernelWarning, WarningKind

_K = WarningKind

# How each architecture's die() announces itself.
_DIE = re.compile(
    # x86 and sh (__die_header(), die(): "%04lx"), s390 ("%04x ilc:%d").
    r"\S: [0-9a-f]{4}(?: ilc:\d+)? \[#\d+\]"
    # arch/arm/kernel/traps.c, __die(): "%x"; arch/arm64/kernel/traps.c: "%016lx", before 5.19 "%x".
    r"|^Internal error: .*: [0-9a-f]+ \[#\d+\]"
    # arch/powerpc/kernel/traps.c, __die(); arch/xtensa/kernel/traps.c.
    r"|[,:] sig: \d+ \[#\d+\]"
    # arch/riscv and arch/csky, die(): "%s [#%d]", with "Oops", "Oops - ..." or "Kernel BUG".
    r"|^(?:Oops|Kernel BUG)\b[^\[]* \[#\d+\]"
    # arch/mips, arch/loongarch, arch/hexagon, die(): "%s[#%d]:".
    r"|^[A-Z][^\[]*\[#\d+\]:"
    # arch/sparc, die_if_kernel(): "%s(%d): %s [#%d]".
    r"|^\S{1,15}\(\d+\): [^\[]* \[#\d+\]$"
)
_DIE_MARK = "[#"
# What some of them say just before.
_BEFORE_DIE = re.compile(
    # mm/fault.c of arm, arm64, riscv and loongarch; s390 says "pointer dereference".
    r"(?:CPU \d+ )?Unable to handle kernel "
    # arch/x86/mm/fault.c, show_fault_oops(); arch/powerpc/mm/fault.c, __bad_page_fault().
    r"|BUG: (?:[Uu]nable to handle |[Kk]ernel NULL pointer dereference)"
    # arch/arm/mm/fault.c, do_DataAbort() and do_PrefetchAbort().
    r"|Unhandled (?:fault: |prefetch abort: ).*\(0x[0-9a-f]+\) at 0x[0-9a-f]+"
)

# The first that matches says the kind: the special before the general.
_HEADLINES: tuple[tuple[WarningKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        # mm/kasan/report.c, print_error_description(); the report.c of mm/kfence, kernel/kcsan, mm/kmsan.
        (_K.KASAN, r"BUG: KASAN: "),
        (_K.KFENCE, r"BUG: KFENCE: "),
        (_K.KCSAN, r"BUG: KCSAN: "),
        (_K.KMSAN, r"BUG: KMSAN: "),
        # lib/ubsan.c, ubsan_prologue().
        (_K.UBSAN, r"UBSAN: .+ in \S+:\d+"),
        # kernel/rcu/tree_stall.h (with and without pr_fmt's "rcu: "), tree_exp.h, tasks.h.
        (_K.RCU_STALL, r"(?:rcu: )?INFO: \S+ (?:self-detected stall on CPU"
                       r"|detected (?:expedited )?stalls?\b)"),
        # kernel/watchdog.c, watchdog_timer_fn(); pr_fmt is "watchdog: ", before 4.19 "NMI watchdog: ".
        (_K.SOFT_LOCKUP, r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck for \d+s!"),
        # kernel/watchdog.c, watchdog_hardlockup_check(), since 7.0 with "CPU%u: " before it; up to 6.4
        # kernel/watchdog_hld.c. arch/powerpc/kernel/watchdog.c: "CPU %d Hard LOCKUP", "self-detected".
        (_K.HARD_LOCKUP, r"(?:NMI )?watchdog: .*\b[Hh]ard LOCKUP\b"),
        # kernel/hung_task.c, check_hung_task() and hung_task_info().
        (_K.HUNG_TASK, r"INFO: task .+:\d+ blocked (?:in I/O wait )?for more than \d+ seconds"),
        # kernel/workqueue.c, wq_watchdog_timer_fn().
        (_K.WORKQUEUE_LOCKUP, r"BUG: workqueue lockup - pool"),
        # kernel/locking/spinlock_debug.c, spin_dump() and rwlock_bug().
        (_K.SPINLOCK_LOCKUP, r"BUG: (?:spin|rw)lock lockup\b"),
        (_K.SPINLOCK, r"BUG: (?:spin|rw)lock .+ on CPU#\d+"),
        # kernel/smp.c, csd_lock_wait_toolong().
        (_K.CSD_LOCK, r"(?:smp: )?csd: (?:Detected|Continued) non-responsive CSD lock"),
        # kernel/sched/core.c: __schedule_bug(), __might_resched(), __cant_sleep(), __cant_migrate();
        # lib/smp_processor_id.c; kernel/workqueue.c, process_one_work(), before 6.10 "leaked lock or atomic";
        # kernel/softirq.c, handle_softirqs(); kernel/sched/idle.c.
        (_K.ATOMIC_CONTEXT, r"BUG: (?:scheduling (?:while atomic|in a non-blocking section)"
                            r"|sleeping function called from invalid context"
                            r"|assuming (?:atomic|non migratable) context"
                            r"|using \S+ in preemptible |workqueue leaked )"
                            r"|softirq: huh, entered softirq \d|bad: scheduling from the idle thread!"),
        # kernel/locking/lockdep.c: print_circular_bug(), print_bad_irq_dependency(), print_deadlock_bug(),
        # print_usage_bug(), print_irq_inversion_bug(), lockdep_rcu_suspicious() and the rest of its reports.
        (_K.LOCKDEP, r"WARNING: (?:possible (?:circular locking dependency|recursive locking"
                     r"|irq lock inversion dependency) detected|\S+-safe -> \S+-unsafe lock order detected"
                     r"|inconsistent lock state|Nested lock was not taken"
                     r"|bad (?:unlock balance|contention) detected"
                     r"|held lock freed|.+/\d+ still has locks held!|lock held when returning to user space"
                     r"|suspicious RCU usage|chain_key collision)"
                     r"|\[ BUG: .+ \]$|INFO: trying to register non-static key|DEBUG_LOCKS_WARN_ON\("
                     r"|BUG: (?:looking up invalid subclass|key \S+ has not been registered"
                     r"|MAX_(?:STACK_TRACE_ENTRIES|LOCK\w*) too low)"),
        # lib/refcount.c; lib/list_debug.c; lib/debugobjects.c; kernel/cfi.c, report_cfi_failure(), before 6.1
        # __cfi_check_fail().
        (_K.REFCOUNT, r"refcount_t: "),
        (_K.LIST_CORRUPTION, r"list_(?:add|del) corruption\b|list_add double add: "),
        (_K.DEBUG_OBJECTS, r"ODEBUG: "),
        (_K.CFI, r"CFI failure (?:at|\()"),
        # arch/x86/mm/extable.c, ex_handler_msr().
        (_K.MSR, r"unchecked MSR access error: (?:RDMSR|WRMSR)"),
        # mm/page_alloc.c, bad_page(); mm/memory.c, print_bad_pte(); mm/filemap.c, filemap_unaccount_folio().
        (_K.BAD_PAGE, r"BUG: Bad page (?:state|map|cache)\b"),
        # mm/slub.c, slab_bug(): "BUG <cache> (<taint>): <fault>"; mm/slab.c, until 6.7; mm/slab_common.c.
        (_K.SLAB, r"BUG \S.* \((?:Not tainted|Tainted: .*)\): |Slab corruption \(|slab error in \S+: "
                  r"|kmem_cache_destroy \S+: Slab cache still has objects"),
        # mm/kmemleak.c, kmemleak_scan().
        (_K.KMEMLEAK, r"kmemleak: \d+ new suspected memory leaks"),
        # kernel/irq/spurious.c, __report_bad_irq().
        (_K.IRQ, r"irq (?:event )?\d+: (?:nobody cared|bogus return value)"),
        # kernel/panic.c, __warn(): up to 6.18, and since 6.19.
        (_K.WARNING, r"WARNING: (?:CPU: \d+ PID: \d+ at |(?:.+:\d+ )?at .+, CPU#\d+: .+/\d+)"),
        # lib/bug.c, __report_bug(); and whatever else the core kernel calls a bug.
        (_K.BUG, r"[Kk]ernel BUG at |BUG: "),
    )
)  # fmt: skip
_GENERAL = frozenset({_K.WARNING, _K.BUG, _K.OOPS})
# Most lines are none: one look at each.
_SOME = re.compile("|".join(f"(?:{pattern.pattern})" for _, pattern in _HEADLINES))

_CUT_HERE = "------------[ cut here ]------------"  # include/asm-generic/bug.h
_END = re.compile(r"-+\[ end (?:trace|Kernel panic)")
_OWN = "kbtf-ci: "
# Rulers, the list of all modules (kernel/module/main.c, print_modules()), registers, code.
_NOISE = re.compile(
    r"\s*$|[-=*]{5}|---\[ end |Modules linked in:|Hardware name:|Code: "
    r"|(?:R(?!IP)[A-Z0-9]{1,2}|E[A-Z]{2}|[CDFGK]S|CR\d|DR\d):? "
)
# What the lines of a report look like, whatever else is printed between them.
_REPORTING = re.compile(
    r"\s|[^:]*\+0x[0-9a-f]+/0x[0-9a-f]+|CPU: |RIP: |Call [Tt]race|NMI backtrace|Workqueue: |rcu: "
    r"|(?:pc|lr) : |(?:PC|LR) is at |(?:Read|Write) of size "
)
# kernel/kallsyms.c, __sprint_symbol(): "name+0xoffset/0xsize [module]", since 5.15 with a build id behind it.
_FRAME = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+ \[([\w-]+)(?: [0-9a-f]+)?\]")

_FIRST_LINES = 10  # kept of a report; the log has them all
_SURE_LINES = 3  # those behind a headline that are its own, whatever they look like
_APART = 4  # lines between a report's two headlines, at most
_REPORT_LINES = 300  # a report that has not ended by then has


def is_oops(line: str) -> bool:
    """Return whether ``line``, without its time stamp, tells of an oops, in any architecture's words."""
    return _BEFORE_DIE.match(line) is not None or (_DIE_MARK in line and _DIE.search(line) is not None)


def kind_of(line: str) -> WarningKind | None:
    """Return the kind of warning that ``line``, without its time stamp, begins, None for any other line."""
    if is_oops(line):
        return _K.OOPS
    if _SOME.match(line) is None:
        return None
    return next(kind for kind, pattern in _HEADLINES if pattern.match(line))


@dataclass
class _Report:
    """One report under way; ``load`` is the module whose load it came with or after, "" for none."""

    kind: WarningKind
    headline: str
    load: str
    lines: list[str]
    named: list[str] = field(default_factory=list)
    seen: int = 0

    def add(self, line: str) -> None:
        self.seen += 1
        self.named.extend(_FRAME.findall(line))
        sure = self.seen <= _SURE_LINES and not line.startswith(_OWN)
        if len(self.lines) < _FIRST_LINES and not _NOISE.match(line) and (sure or _REPORTING.match(line)):
            self.lines.append(line)

    def also(self, kind: WarningKind, line: str) -> bool:
        """Take ``line`` as a second headline of this report; False where it begins another."""
        if not self._goes_on_as(kind):
            return False
        if self.kind in _GENERAL and kind not in _GENERAL:
            self.kind = kind
        self.seen += 1
        self.lines.append(line)
        self.named.extend(_FRAME.findall(line))
        return True

    def _goes_on_as(self, kind: WarningKind) -> bool:
        if self.kind in _GENERAL and kind in _GENERAL:
            # A BUG(), then its trap; "Unable to handle ...", then some lines, then "Internal error: ...".
            return kind is _K.OOPS and self.kind is not _K.WARNING
        if self.kind in _GENERAL:
            # A WARN() has its message behind it on some architectures (kernel/panic.c, __warn()) ...
            return self.seen == 0 and not kind.is_stall
        # ... and before it on others.
        return kind in _GENERAL and not self.kind.is_stall and self.seen <= _APART

    def warning(self, *, emulated: bool) -> KernelWarning:
        module = self.load if self.load in self.named or not self.named else self.named[0]
        blame = emulated and self.kind.is_stall
        return KernelWarning(self.kind, self.headline, tuple(self.lines), module, blame)


class WarningParser:
    """Takes the log of one boot as it comes and gives the warnings in it.

    A warning belongs to the module that its own stack frames name: the one under load if that is among them,
    else the first. Where they name none it belongs to the load that it came with or after.
    """

    def __init__(self, *, emulated: bool) -> None:
        self._emulated = emulated
        self._report: _Report | None = None
        self._message: list[str] | None = None  # what came since a "cut here", None without one

    def feed(self, lines: Iterable[str], load: str) -> tuple[KernelWarning, ...]:
        """Take lines without time stamps that came with or after ``load``; return the reports they end."""
        done = []
        for line in lines:
            ended = self._line(line, load)
            if ended is not None:
                done.append(ended)
        return tuple(done)

    def finish(self) -> tuple[KernelWarning, ...]:
        """Return the report that no line has ended."""
        ended = self._close()
        return () if ended is None else (ended,)

    def _line(self, line: str, load: str) -> KernelWarning | None:
        if line.startswith(_CUT_HERE):
            self._message = []
            return None
        kind = kind_of(line)
        if kind is not None:
            return self._headline(kind, line, load)
        if self._message is not None and len(self._message) < _APART:
            self._message.append(line)
        if self._report is None:
            return None
        self._report.add(line)
        over = _END.match(line) is not None or self._report.seen > _REPORT_LINES
        return self._close() if over else None

    def _headline(self, kind: WarningKind, line: str, load: str) -> KernelWarning | None:
        message, self._message = self._message or [], None
        if self._report is not None and self._report.also(kind, line):
            return None
        ended = self._close()
        self._report = _Report(kind, line, load, [*(text for text in message if text.strip()), line])
        self._report.named.extend(_FRAME.findall(line))
        return ended

    def _close(self) -> KernelWarning | None:
        report, self._report = self._report, None
        return None if report is None else report.warning(emulated=self._emulated)


def parse_warnings(lines: Iterable[str], load: str, *, emulated: bool) -> tuple[KernelWarning, ...]:
    """Return the warnings of a log that is complete; see WarningParser."""
    parser = WarningParser(emulated=emulated)
    return (*parser.feed(lines, load), *parser.finish())
