# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the console says, by lines as kernels and QEMU print them."""

import pytest

from kbtf_ci.guest.console import Console, Marker
from kbtf_ci.model.outcome import LoadMode


def console(text):
    result = Console()
    result.feed(text.replace("\n", "\r\n").encode())
    return result


def test_signs_are_found_however_the_bytes_are_cut():
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


def test_a_guest_that_is_not_ready_says_why():
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
    ],
)
def test_an_oops_is_one_under_all_its_names_and_not_yet_the_end(line):
    seen = console(line + "\n")
    assert seen.oops
    assert not seen.fatal


def test_a_panic_is_the_end_and_the_first_one_is_kept():
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
def test_kvms_failures_are_told_from_the_kernels(line):
    seen = console(line + "\n")
    assert seen.kvm == line
    assert seen.fatal


def test_a_kernel_that_only_speaks_of_kvm_has_not_failed():
    seen = console("[    0.1] kvm-guest: PV spinlocks enabled\n[    0.2] kvm_amd: SVM not supported\n")
    assert not seen.fatal


def test_a_last_line_without_an_end_counts_when_nothing_follows():
    seen = console("[    2.0] Kernel panic - not syncing: x")
    assert not seen.panic
    seen.finish()
    assert seen.panic


def test_a_marker_begins_the_log_anew():
    seen = console(
        "[ 1.0] kbtf-ci: load real a\n[ 1.1] words of a\n[ 1.2] kbtf-ci: load real b\n[ 1.3] words of b\n"
    )
    assert seen.marker == Marker(LoadMode.REAL, "b")
    assert seen.since_marker() == ("words of b",)


def test_a_console_that_never_stops_is_kept_in_bounded_memory():
    seen = Console()
    for number in range(50_000):
        seen.feed(b"line %d\r\n" % number)
    assert len(seen.since_marker()) < 5000
    assert seen.tail(1) == "line 49999"
