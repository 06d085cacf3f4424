# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU's command line, and nothing else: every function here is pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import X86_64

SSH_PORT = 2222
KERNEL = "/guest/kernel"
INITRAMFS = "/guest/initramfs.cpio"
KVM_CHECK = "/usr/lib/kbtf-ci/kvmcheck"
KVM_CHECK_PASSED = 33


class Accel(StrEnum):
    """What ``--accel`` takes."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


# oops=panic: an oops in a module's init leaves locks held, and what comes after proves nothing.
# panic=-1 with -no-reboot: QEMU ends at once. log_buf_len: no record is lost between two reads.
# nokaslr: the addresses of two runs compare. mitigations=off: no attacker is in the guest.
CMDLINE = (
    "oops=panic",
    "panic=-1",
    "printk.devkmsg=on",
    "printk.time=1",
    "log_buf_len=16M",
    "mitigations=off",
    "nokaslr",
)


@dataclass(frozen=True)
class Machine:
    """One guest: ``accel`` is KVM or TCG, ``append`` goes behind our own kernel parameters."""

    accel: Accel
    memory_mib: int
    cpus: int
    append: str = ""
    type: MachineType = X86_64


def argv(machine: Machine, address: str = "", port: int = SSH_PORT) -> tuple[str, ...]:
    """Return the command line that boots KERNEL with INITRAMFS; console on stdout, SSH on ``port``."""
    return (
        *console_argv(machine, KERNEL, INITRAMFS),
        # restrict=on: nothing goes out of the guest; the forwarded port still comes in.
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:{address}:{port}-:22"),
        *("-device", machine.type.network),
    )


def console_argv(machine: Machine, kernel: str, initramfs: str) -> tuple[str, ...]:
    """Return the command line of a guest that has no network; its console is on stdout."""
    return (
        *_common(machine.type, machine.accel),
        *("-m", str(_rounded(machine.memory_mib, machine.type.memory_step_mib))),
        *("-smp", str(machine.cpus)),
        *("-kernel", kernel),
        *("-initrd", initramfs),
        *("-append", " ".join([f"console={machine.type.console}", *CMDLINE, *machine.append.split()])),
        *("-serial", "stdio"),
    )


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


def kvm_check_argv() -> tuple[str, ...]:
    """Return the command line of the smallest KVM guest, x86_64's; it ends with status KVM_CHECK_PASSED."""
    return (
        *_common(X86_64, Accel.KVM),
        *("-m", "32"),
        *("-kernel", KVM_CHECK),
        *("-device", "isa-debug-exit,iobase=0x501,iosize=1"),
    )


def _common(machine: MachineType, accel: Accel) -> tuple[str, ...]:
    kvm = accel is Accel.KVM
    return (
        machine.qemu,
        *("-machine", machine.machine),
        *("-accel", "kvm" if kvm else "tcg,thread=multi"),
        *("-cpu", "host" if kvm else machine.cpu),
        *("-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none"),
    )
