# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the console says, by lines as kernels and QEMU print them."""

from __future__ import annotations

import time

import pytest

from kbtf_ci.guest.console import Console, Marker
from kbtf_ci.model.outcome import LoadMode


def console(text: str) -> Console:
    result = Console()
    result.feed(text.replace("\n", "\r\n").encode())
    return result


def test_signs_are_found_however_the_bytes_are_cut() -> None:
    text = (
        b"[    1.0] kbtf-ci: guest ready\r\n[    2.5][   T1] kbtf-ci: load inert nf_nat\r\n[    3.0] oh\r\n"
    )
    for size in (1, 2, 7, 100):
        seen = Console()
        for at in range(0, len(text), size):
            seen.feed(text[at : at + size])
        assert seen.ready
        assert seen.marker == Marker(LoadMode.INERT, "nf_nat")
        assert seen.since_marker() == ("oh",)


def test_a_guest_that_is_not_ready_says_why() -> None:
    seen = console(
        "[    1.0] kbtf-ci: guest has no network device (CONFIG_VIRTIO_NET)\n"
        "[    1.1] kbtf-ci: guest not ready\n"
    )
    assert (seen.ready, seen.not_ready) == (False, True)
    assert seen.complaints == ["guest has no network device (CONFIG_VIRTIO_NET)"]


@pytest.mark.parametrize(
    "line",
    [
        "[    2.0] Oops: Oops: 0002 [#1] PREEMPT SMP",
        "[    2.0] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP",
        "[    2.0] general protection fault: 0000 [#1] SMP",
        "[    2.0] invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
        "[    2.0] BUG: kernel NULL pointer dereference, address: 0000000000000000",
        "[    2.0] BUG: unable to handle page fault for address: ffffc90000000000",
        # arm64, before and since 5.19; arm
        "[    2.0][    T1] Internal error: Oops: 96000004 [#1] PREEMPT SMP",
        "[    2.0] Internal error: Oops - BUG: 00000000f2000800 [#1] SMP",
        "[    2.0] Internal error: Oops: 817 [#1] SMP ARM",
        "[    2.0] Internal error: Oops - undefined instruction: 0 [#1] SMP ARM",
        "[    2.0] Internal error: : 1028 [#1] SMP ARM",
        "[    2.0] Unable to handle kernel paging request at virtual address dead000000000108",
        "[    2.0] 8<--- cut here ---\n[    2.0] Unable to handle kernel paging request at virtual address 0",
        "[    2.0] Unhandled fault: imprecise external abort (0x1406) at 0x00000000",
        "[    2.0] Unhandled prefetch abort: breakpoint debug exception (0x002) at 0x00000000",
        # powerpc
        "[    2.0] BUG: Kernel NULL pointer dereference on write at 0x00000000",
        "[    2.0] BUG: Unable to handle kernel instruction fetch (NULL pointer?)",
        "[    2.0] Oops: Kernel access of bad area, sig: 11 [#1]",
        "[    2.0] Oops: Exception in kernel mode, sig: 5 [#1]",
        # s390
        "[    2.0] Unable to handle kernel pointer dereference in virtual kernel address space",
        "[    2.0] Oops: 0004 ilc:2 [#1] SMP",
        "[    2.0] illegal operation: 0001 ilc:1 [#1] PREEMPT SMP",
        # riscv, loongarch, mips, sparc, xtensa
        "[    2.0] Oops [#1]",
        "[    2.0] Oops - illegal instruction [#1]",
        "[    2.0] Kernel BUG [#1]",
        "[    2.0] CPU 3 Unable to handle kernel paging request at virtual address 0000000000000008",
        "[    2.0] Oops[#1]:",
        "[    2.0] Kernel bug detected[#1]:",
        "[    2.0] insmod(88): Oops [#1]",
        "[    2.0] Oops: sig: 11 [#1] PREEMPT",
    ],
)
def test_an_oops_is_one_under_all_its_names_and_not_yet_the_end(line: str) -> None:
    seen = console(line + "\n")
    assert seen.oops
    assert not seen.fatal


@pytest.mark.parametrize(
    "line",
    [
        "[    2.0] mydrv: queue [#1] is full",
        "[    2.0] usb 1-1: Oops, I did it again",
        "[    2.0] driver: Internal error: try again",
        "[    2.0] mydrv: Unable to handle kernel requests",
        "[    2.0] WARNING: CPU: 0 PID: 1 at f.c:1 f+0x1/0x2",
        "[    2.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [insmod:1]",
    ],
)
def test_what_is_no_oops_is_none(line: str) -> None:
    assert not console(line + "\n").oops


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("watchdog: Watchdog detected hard LOCKUP on cpu 1", "Hard LOCKUP"),
        ("watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3", "Hard LOCKUP"),
        ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [insmod:1]", "softlockup: hung tasks"),
        ("INFO: task insmod:77 blocked for more than 122 seconds.", "hung_task: blocked tasks"),
        ("rcu: INFO: rcu_sched self-detected stall on CPU", "RCU Stall"),
    ],
)
def test_a_lockup_that_ends_in_a_panic_is_one(said: str, words: str) -> None:
    seen = console(f"[ 30.0] {said}\n[ 30.1] Kernel panic - not syncing: {words}\n")
    assert seen.fatal
    assert not seen.oops
    assert seen.panic == f"Kernel panic - not syncing: {words}"
    assert said in seen.since_marker()


def test_a_kernel_that_the_firmware_cannot_start_is_the_end() -> None:
    seen = console(
        "Booting from memory...\n \n\n( 700 ) Program Exception [ 1daf04c4 ]\n\n\n    R0 .. R7\n2 > "
    )
    assert seen.fatal
    assert seen.panic == "the firmware's exception: ( 700 ) Program Exception [ 1daf04c4 ]"
    assert not console("[ 1.0] ( 700 ) things [ in brackets ]\n").fatal


def test_a_panic_is_the_end_and_the_first_one_is_kept() -> None:
    seen = console("[    2.0] Kernel panic - not syncing: one\n[    2.0] Kernel panic - not syncing: two\n")
    assert seen.fatal
    assert seen.panic == "Kernel panic - not syncing: one"


@pytest.mark.parametrize(
    "line",
    [
        "KVM internal error. Suberror: 1",
        "error: kvm run failed Bad address",
        "KVM: entry failed, hardware error 0x80000021",
        "qemu-system-x86_64: error: failed to set MSR 0x10a to 0xc000069",
        "qemu-system-x86_64: target/i386/kvm/kvm.c:3877: kvm_buf_set_msrs: Assertion `ret == n' failed.",
        "qemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied",
    ],
)
def test_kvms_failures_are_told_from_the_kernels(line: str) -> None:
    seen = console(line + "\n")
    assert seen.kvm == line
    assert seen.fatal


def test_a_kernel_that_only_speaks_of_kvm_has_not_failed() -> None:
    seen = console("[    0.1] kvm-guest: PV spinlocks enabled\n[    0.2] kvm_amd: SVM not supported\n")
    assert not seen.fatal


def test_a_last_line_without_an_end_counts_when_nothing_follows() -> None:
    seen = console("[    2.0] Kernel panic - not syncing: x")
    assert not seen.panic
    seen.finish()
    assert seen.panic


def test_a_marker_begins_the_log_anew() -> None:
    seen = console(
        "[ 1.0] kbtf-ci: load real a\n[ 1.1] words of a\n[ 1.2] kbtf-ci: load real b\n[ 1.3] words of b\n"
    )
    assert seen.marker == Marker(LoadMode.REAL, "b")
    assert seen.since_marker() == ("words of b",)


def test_a_console_that_never_stops_is_kept_in_bounded_memory() -> None:
    seen = Console()
    for number in range(50_000):
        seen.feed(b"line %d\r\n" % number)
    assert len(seen.since_marker()) < 5000
    assert seen.tail(1) == "line 49999"


def test_a_line_without_an_end_takes_time_in_proportion_and_bounded_memory() -> None:
    def seconds(mib: int) -> float:
        seen = Console()
        start = time.process_time()
        for _ in range(mib * 256):
            seen.feed(b"x" * 4096)
        assert max(map(len, seen.since_marker())) <= 64 * 1024
        return time.process_time() - start

    # Eight times as much, where quadratic time would be 64 times as long.
    assert seconds(16) < 24 * max(seconds(2), 0.005)


@pytest.mark.parametrize("size", [1, 1000, 4096, 200_000])
def test_a_sign_in_a_line_of_any_length_is_found_wherever_it_is_cut(size: int) -> None:
    for at in (65_536 - 30, 65_536, 65_530, 150_000):
        text = b"x" * at + b" Kernel panic - not syncing: far out\n[ 1.0] next\n"
        seen = Console()
        for start in range(0, len(text), size):
            seen.feed(text[start : start + size])
        assert seen.panic.startswith("Kernel panic - not syncing: ")
        assert seen.tail(1) == "[ 1.0] next"


def test_what_follows_a_line_that_was_cut_is_a_line_of_its_own() -> None:
    seen = Console()
    seen.feed(b"x" * 65_536 + b"kbtf-ci: load real cut_\n" + b"off\n[    1.0] kbtf-ci: guest ready\n")
    assert seen.marker == Marker(LoadMode.REAL, "cut_")
    assert seen.ready
    assert seen.since_marker() == ("off", "kbtf-ci: guest ready")
