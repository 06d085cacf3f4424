# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the kernel says when something is wrong, in its own words of many versions and architectures."""

from __future__ import annotations

import pytest

from kbtf_ci.guest.kernel_warning import WarningParser, kind_of, parse_warnings
from kbtf_ci.model.kernel_warning import WarningKind, merge

SPELLINGS = [
    ("warning", "WARNING: CPU: 0 PID: 1 at arch/x86/mm/ioremap.c:217 __ioremap_caller+0x2a9/0x370"),
    ("warning", "WARNING: CPU: 3 PID: 4711 at init_module+0x5/0xff0 [warner]"),
    ("warning", "WARNING: drivers/base/core.c:42 at device_add+0x1/0x2, CPU#1: insmod/77"),
    ("warning", "WARNING: [dev == ((void *)0)] drivers/base/core.c:42 at f+0x1/0x2, CPU#1: kworker/1:2 x/77"),
    ("warning", "WARNING: at device_add+0x1/0x2, CPU#1: insmod/77"),
    ("bug", "kernel BUG at fs/ext4/super.c:1234!"),
    ("bug", "Kernel BUG at init_module+0x5/0x10 [verbose debug info unavailable]"),
    ("bug", "BUG: Bad rss-counter state mm:00000000a1b2c3d4 type:MM_FILEPAGES val:1"),
    ("bug", "BUG: non-zero pgtables_bytes on freeing mm: 4096"),
    ("oops", "BUG: kernel NULL pointer dereference, address: 0000000000000000"),
    ("oops", "BUG: unable to handle page fault for address: ffffc90000000000"),
    ("oops", "BUG: Kernel NULL pointer dereference on read at 0x00000000"),
    ("oops", "BUG: Unable to handle kernel data access on write at 0xc00000000bad0000"),
    ("oops", "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000"),
    ("oops", "CPU 1 Unable to handle kernel paging request at virtual address 0000000000000000, era == 90"),
    ("oops", "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP"),
    ("oops", "Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP"),
    ("kasan", "BUG: KASAN: slab-out-of-bounds in kmalloc_oob_right+0xa8/0xbc [kasan_test]"),
    ("kasan", "BUG: KASAN: invalid-access"),
    ("kfence", "BUG: KFENCE: use-after-free read in test_use_after_free_read+0x57/0x87"),
    ("kcsan", "BUG: KCSAN: data-race in ext4_mark_iloc_dirty / ext4_write_end"),
    ("kmsan", "BUG: KMSAN: uninit-value in test_uninit_kmsan_check_memory+0x1be/0x380 [kmsan_test]"),
    ("ubsan", "UBSAN: array-index-out-of-bounds in drivers/net/x.c:12:3"),
    ("ubsan", "UBSAN: shift-out-of-bounds in ./include/linux/log2.h:67:13"),
    ("rcu-stall", "rcu: INFO: rcu_sched self-detected stall on CPU"),
    ("rcu-stall", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
    ("rcu-stall", "INFO: rcu_sched detected stalls on CPUs/tasks: { 1} (detected by 0, t=21002 jiffies)"),
    ("rcu-stall", "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-...D } 6 jiffies"),
    ("rcu-stall", "rcu: INFO: rcu_sched detected stall, but suppressed full report due to a stuck CSD-lock."),
    ("rcu-stall", "INFO: rcu_tasks detected stalls on tasks:"),
    ("rcu-stall", "INFO: rcu_tasks_trace detected stalls? (Late IPI?)"),
    ("soft-lockup", "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [insmod:123]"),
    ("soft-lockup", "NMI watchdog: BUG: soft lockup - CPU#3 stuck for 22s! [kworker/3:1:45]"),
    ("soft-lockup", "BUG: soft lockup - CPU#0 stuck for 61s! [modprobe:99]"),
    ("hard-lockup", "watchdog: Watchdog detected hard LOCKUP on cpu 3"),
    ("hard-lockup", "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"),
    ("hard-lockup", "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0"),
    ("hard-lockup", "watchdog: CPU 1 self-detected hard LOCKUP @ spin+0x10/0x20 [lock]"),
    ("hard-lockup", "watchdog: CPU 0 detected hard LOCKUP on other CPUs 1"),
    ("hard-lockup", "watchdog: CPU 1 Hard LOCKUP"),
    ("hung-task", "INFO: task insmod:77 blocked for more than 122 seconds."),
    ("hung-task", "INFO: task kworker/u8:2:33 blocked in I/O wait for more than 120 seconds."),
    ("workqueue-lockup", "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!"),
    ("spinlock-lockup", "BUG: spinlock lockup suspected on CPU#0, swapper/0/1"),
    ("spinlock-lockup", "BUG: rwlock lockup on CPU#0, insmod/1, 00000000deadbeef"),
    ("spinlock", "BUG: spinlock bad magic on CPU#1, insmod/78"),
    ("spinlock", "BUG: rwlock wrong owner on CPU#0, insmod/1, 00000000deadbeef"),
    ("csd-lock", "smp: csd: Detected non-responsive CSD lock (#1) on CPU#1, waiting 500000 ns for CPU#00 f"),
    ("atomic-context", "BUG: scheduling while atomic: insmod/77/0x00000002"),
    ("atomic-context", "BUG: sleeping function called from invalid context at mm/slab.h:494"),
    ("atomic-context", "BUG: using __this_cpu_add() in preemptible [00000000] code: insmod/77"),
    ("atomic-context", "BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[12]"),
    ("atomic-context", "BUG: workqueue leaked lock or atomic: kworker/0:1/0x00000001/12"),
    ("atomic-context", "BUG: assuming atomic context at kernel/x.c:1"),
    ("atomic-context", "softirq: huh, entered softirq 3 NET_RX 0 with preempt_count 00000100, exited with ?"),
    ("lockdep", "WARNING: possible circular locking dependency detected"),
    ("lockdep", "WARNING: possible recursive locking detected"),
    ("lockdep", "WARNING: possible irq lock inversion dependency detected"),
    ("lockdep", "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected"),
    ("lockdep", "WARNING: inconsistent lock state"),
    ("lockdep", "WARNING: bad unlock balance detected!"),
    ("lockdep", "WARNING: held lock freed!"),
    ("lockdep", "WARNING: insmod/77 still has locks held!"),
    ("lockdep", "WARNING: lock held when returning to user space!"),
    ("lockdep", "WARNING: suspicious RCU usage"),
    ("lockdep", "[ BUG: Invalid wait context ]"),
    ("lockdep", "INFO: trying to register non-static key."),
    ("lockdep", "BUG: MAX_LOCKDEP_KEYS too low!"),
    ("refcount", "refcount_t: underflow; use-after-free."),
    ("list-corruption", "list_add corruption. prev->next should be next (ffff0000), but was 0. (prev=1)."),
    ("list-corruption", "list_del corruption, ffff8881->next is LIST_POISON1 (dead000000000100)"),
    ("list-corruption", "list_add double add: new=ffff8881, prev=ffff8881, next=ffff8882."),
    ("debug-objects", "ODEBUG: free active (active state 0) object: ffff8 object type: timer_list hint: f"),
    ("cfi", "CFI failure at init_module+0x1/0x2 [m] (target: f+0x0/0x1; expected type: 0x12345678)"),
    ("msr", "unchecked MSR access error: WRMSR to 0x199 (tried to write 0x800) at rIP: 0xffffffff81 (f)"),
    ("msr", "unchecked MSR access error: RDMSR from 0x852 at rIP: 0xffffffff81 (native_read_msr+0x8/0x40)"),
    ("bad-page", "BUG: Bad page state in process insmod  pfn:12345"),
    ("bad-page", "BUG: Bad page map in process insmod  pte:8000000012345067 pmd:012345067"),
    ("bad-page", "BUG: Bad page cache in process insmod  pfn:12345"),
    ("slab", "BUG kmalloc-64 (Not tainted): Poison overwritten"),
    ("slab", "BUG TCP (Tainted: G    B      OE     ): Objects remaining on __kmem_cache_shutdown()"),
    ("slab", "Slab corruption (Not tainted): kmalloc-32 start=ffff8881, len=32"),
    ("slab", "slab error in verify_redzone_free(): cache `kmalloc-32': double free detected"),
    ("kmemleak", "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"),
    ("irq", "irq 9: nobody cared (try booting with the \"irqpoll\" option)"),
]  # fmt: skip

BENIGN = """\
Linux version 6.12.107 (gcc 14) #1 SMP
Warning: unrecognized option in a driver
e1000: WARNING: CPU: speaking of it in a driver's own line
mydriver 0000:00:03.0: BUG: firmware says so
WARNING: this driver is going away, use another
BPF: [103] ENUM task_fair
BPF: Invalid name
failed to validate module [xfs] BTF: -22
Modules linked in: xfs(E) libcrc32c warn(O)
xfs: loading out-of-tree module taints kernel.
xfs: module verification failed: signature and/or required key missing - tainting kernel
kbtf-ci: load real xfs
NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.
watchdog: Delayed init of the lockup detector failed: -19
rcu: \tRCU CPU stall warnings timeout set to 21 (rcu_cpu_stall_timeout).
rcu: Hierarchical SRCU implementation.
INFO: lockdep is turned off.
workqueue: output_poll_execute hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND
hub 1-0:1.0: Oops, no ports [#12 in sight]
refcount of x is fine
slab: 3 caches
kmemleak: Kernel memory leak detector initialized (mem pool available: 15000)
Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible!
clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable:
BTF: no BUG here
""".splitlines()


@pytest.mark.parametrize(("kind", "line"), SPELLINGS)
def test_every_spelling_is_known_by_its_kind(kind: str, line: str) -> None:
    assert kind_of(line) == kind
    (one,) = parse_warnings([line], "m", emulated=True)
    assert (one.kind, one.headline, one.lines, one.times) == (kind, line, (line,), 1)
    assert one.host_may_be_to_blame is one.kind.is_stall


def test_every_kind_has_a_spelling_here() -> None:
    assert {kind for kind, _ in SPELLINGS} == {kind.value for kind in WarningKind}


def test_what_only_looks_like_a_warning_is_none() -> None:
    assert parse_warnings(BENIGN, "m", emulated=True) == ()


IOREMAP = """\
------------[ cut here ]------------
WARNING: CPU: 0 PID: 1 at arch/x86/mm/ioremap.c:217 __ioremap_caller+0x2a9/0x370
Modules linked in:
CPU: 0 UID: 0 PID: 1 Comm: swapper/0 Not tainted 6.12.117+deb13-amd64 #1  Debian 6.12.117-1
Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.3-debian-1.16.3-2 04/01/2014
RIP: 0010:__ioremap_caller+0x2a9/0x370
Code: 00 e9 0d fe ff ff 0f 0b
RSP: 0018:ffffb5b0c0013d28 EFLAGS: 00010202
RAX: 0000000000000001 RBX: 00000000fed40000 RCX: 0000000000000000
Call Trace:
 <TASK>
 ? __warn.cold+0x93/0xf6
 ? __ioremap_caller+0x2a9/0x370
 acpi_os_map_iomem+0x1d5/0x1f0
 </TASK>
---[ end trace 0000000000000000 ]---
virtio_net: loaded
""".splitlines()


def test_debians_ioremap_warning_is_shown_and_is_no_modules() -> None:
    (one,) = parse_warnings(IOREMAP, "", emulated=True)
    assert (one.kind, one.module, one.host_may_be_to_blame) == ("warning", "", False)
    assert one.lines[0] == IOREMAP[1]
    assert one.lines[1].startswith("CPU: 0 UID: 0 PID: 1")
    assert "RIP: 0010:__ioremap_caller+0x2a9/0x370" in one.lines
    assert not any(
        line.startswith(("Modules", "Code", "RAX", "Hardware", "virtio", "---")) for line in one.lines
    )


LOCKUP = """\
watchdog: BUG: soft lockup - CPU#1 stuck for 11s! [locker:88]
CPU#1 Utilization every 2s during lockup:
\t#1: 100% system,\t  0% softirq,\t  0% hardirq,\t  0% idle
Modules linked in: after(O) locker(O)
CPU: 1 UID: 0 PID: 88 Comm: locker Tainted: G           O       6.12.107 #1
RIP: 0010:spin+0x1a/0x40 [locker]
Call Trace:
 <IRQ>
 ? watchdog_timer_fn+0x1b2/0x210
 </IRQ>
 <TASK>
 kthread+0xcf/0x100
 </TASK>
""".splitlines()


def test_a_lockup_belongs_to_the_module_in_its_frames_whatever_is_loaded_by_then() -> None:
    (one,) = parse_warnings(LOCKUP, "after", emulated=True)
    assert (one.kind, one.module, one.host_may_be_to_blame) == ("soft-lockup", "locker", True)
    assert parse_warnings(LOCKUP, "after", emulated=False)[0].host_may_be_to_blame is False


def test_a_report_that_names_the_module_under_load_and_others_is_its() -> None:
    lines = [*LOCKUP, " init_module+0x5/0x10 [after]"]
    assert parse_warnings(lines, "after", emulated=True)[0].module == "after"
    assert parse_warnings(lines, "third", emulated=True)[0].module == "locker"


def test_a_report_that_names_none_belongs_to_the_load() -> None:
    lines = [line for line in LOCKUP if "[locker]" not in line]
    assert parse_warnings(lines, "after", emulated=True)[0].module == "after"


def test_a_build_id_behind_a_module_is_no_part_of_its_name() -> None:
    lines = [LOCKUP[0], "RIP: 0010:spin+0x1a/0x40 [locker 4e5d1c0ffee]"]
    assert parse_warnings(lines, "", emulated=True)[0].module == "locker"


@pytest.mark.parametrize(
    "lines",
    [
        # x86: __warn_printk() before the trap; others: behind it.
        ["------------[ cut here ]------------", "refcount_t: underflow; use-after-free.",
         "WARNING: CPU: 0 PID: 9 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110"],
        ["------------[ cut here ]------------",
         "WARNING: CPU: 0 PID: 9 at lib/refcount.c:28 refcount_warn_saturate+0xba/0x110",
         "refcount_t: underflow; use-after-free."],
        ["------------[ cut here ]------------", "refcount_t: underflow; use-after-free.",
         "WARNING: lib/refcount.c:28 at refcount_warn_saturate+0xba/0x110, CPU#0: insmod/9"],
    ],
)  # fmt: skip
def test_a_warn_and_its_message_are_one_warning_of_the_special_kind(lines: list[str]) -> None:
    (one,) = parse_warnings([*lines, "Modules linked in: m", "---[ end trace 0 ]---"], "m", emulated=False)
    assert one.kind == "refcount"
    assert one.lines == tuple(lines[1:])


def test_a_drivers_own_message_stands_before_its_warn() -> None:
    lines = ["------------[ cut here ]------------", "mydrv: ring is full",
             "WARNING: CPU: 0 PID: 9 at drivers/x.c:28 f+0xba/0x110 [mydrv]"]  # fmt: skip
    (one,) = parse_warnings(lines, "other", emulated=False)
    assert one.lines == tuple(lines[1:])
    assert one.headline == lines[2]
    assert one.module == "mydrv"


def test_a_corrupt_list_its_bug_and_the_trap_are_one() -> None:
    lines = [
        "list_del corruption, ffff8881->next is LIST_POISON1 (dead000000000100)",
        "------------[ cut here ]------------",
        "kernel BUG at lib/list_debug.c:56!",
        "Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
    ]
    (one,) = parse_warnings(lines, "m", emulated=False)
    assert one.kind == "list-corruption"
    assert one.lines == (lines[0], *lines[2:])


def test_an_arm64_oops_is_one() -> None:
    lines = [
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000000",
        "Mem abort info:", "  ESR = 0x0000000096000004", "  EC = 0x25: DABT (current EL), IL = 32 bits",
        "  SET = 0, FnV = 0", "  EA = 0, S1PTW = 0", "  FSC = 0x04: level 0 translation fault",
        "Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP",
        "pc : crash+0x10/0x1000 [crash]",
    ]  # fmt: skip
    (one,) = parse_warnings(lines, "m", emulated=False)
    assert (one.kind, one.module) == ("oops", "crash")


def test_two_warns_one_behind_the_other_are_two() -> None:
    found = parse_warnings([*IOREMAP, *LOCKUP, *LOCKUP], "m", emulated=False)
    assert [one.kind.value for one in found] == ["warning", "soft-lockup", "soft-lockup"]


def test_a_report_that_comes_in_two_parts_is_one_and_belongs_to_its_beginning() -> None:
    parser = WarningParser(emulated=False)
    assert parser.feed(IOREMAP[:8], "first") == ()
    assert parser.feed(["kbtf-ci: load real second"], "first") == ()
    (one,) = parser.feed(IOREMAP[8:], "second")
    assert one.module == "first"
    assert " acpi_os_map_iomem+0x1d5/0x1f0" in one.lines
    assert parser.finish() == ()


def test_lines_of_others_between_a_report_are_not_its() -> None:
    lines = ["unchecked MSR access error: RDMSR from 0x852 at rIP: 0xffffffff81 (native_read_msr+0x8/0x40)",
             "kbtf-ci: load real next", "next: hello", "next: world", "next: again", "Call Trace:",
             " f+0x1/0x2"]  # fmt: skip
    (one,) = parse_warnings(lines, "m", emulated=False)
    assert one.lines == (lines[0], "next: hello", "next: world", "Call Trace:", " f+0x1/0x2")


def test_a_warning_that_comes_again_is_counted() -> None:
    again = [line.replace("11s", "23s").replace(":88]", ":90]") for line in LOCKUP]
    other = [line.replace("ioremap.c:217", "ioremap.c:218") for line in IOREMAP]
    found = merge(parse_warnings([*LOCKUP, *again, *IOREMAP, *other, *IOREMAP], "m", emulated=True))
    assert [(one.kind.value, one.times) for one in found] == [
        ("soft-lockup", 2),
        ("warning", 2),
        ("warning", 1),
    ]
    assert found[0].headline == LOCKUP[0]


def test_a_log_of_many_lines_takes_time_in_proportion() -> None:
    assert len(parse_warnings(["x: y " * 40] * 100_000 + [SPELLINGS[0][1]], "", emulated=False)) == 1
