# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A guest from start to SSH: booted, logged in to, and taken down again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kbtf_ci.errors import GuestError, UsageError
from kbtf_ci.guest import qemu, ssh
from kbtf_ci.guest.accel import KVM_DEVICE
from kbtf_ci.guest.image import GuestImage, check_memory
from kbtf_ci.guest.qemu import Accel, Machine
from kbtf_ci.guest.ssh import GuestShell
from kbtf_ci.guest.timeouts import EMULATION_FACTOR, Deadline, Timeouts
from kbtf_ci.guest.vm import KvmError, Vm, running
from kbtf_ci.infra.runner import Command, Mount, Runner, endpoint
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import X86_64


@dataclass(frozen=True)
class GuestSpec:
    """What to boot and in what.

    ``kernel`` is what QEMU is given: a boot image, or a vmlinux with an entry for it; ``packed`` is the image
    that the vmlinux lay in, to boot where it does not come up. ``machine`` is what it runs on, ``append``
    further kernel parameters. ``btf`` is the BTF that its vmlinux shall have in memory, None where nobody
    asks.
    """

    kernel: Path
    image: GuestImage
    memory_mib: int = 2048
    cpus: int = 2
    accel: Accel = Accel.AUTO
    append: str = ""
    timeouts: Timeouts = field(default_factory=Timeouts)
    packed: Path | None = None
    btf: bytes | None = field(default=None, repr=False)
    machine: MachineType = X86_64

    def check(self) -> None:
        """Raise UsageError for a kernel that is not there, or a guest too small for its initramfs."""
        if not self.kernel.is_file():
            raise UsageError(f"there is no kernel image {self.kernel}")
        check_memory(self.image.initramfs, self.memory_mib)

    def patience(self, accel: Accel) -> Timeouts:
        """Return the timeouts for a guest in ``accel``."""
        return self.timeouts.scaled(EMULATION_FACTOR) if accel is Accel.TCG else self.timeouts


@dataclass(frozen=True)
class Guest:
    """A guest that answers: ``boot_s`` seconds after its start."""

    vm: Vm
    shell: GuestShell
    boot_s: float
    timeouts: Timeouts


@contextmanager
def booted(
    runner: Runner, spec: GuestSpec, accel: Accel, console_log: Path, warn: Callable[[str], None]
) -> Iterator[Guest]:
    """Boot ``spec`` in ``accel`` (KVM or TCG) and log in; leaving the context ends the guest.

    Raises GuestError, with the console's tail, when it does not come up; KvmError, EngineError and
    InfrastructureError for what is not the kernel's doing.
    """
    timeouts = spec.patience(accel)
    start = time.monotonic()
    command = _command(runner, spec, accel)
    with running(runner, command, console_log) as vm:
        _wait_for_init(vm, accel, Deadline(timeouts.boot, timeouts.clock))
        for complaint in vm.console.complaints:
            warn(complaint)
        deadline = Deadline(timeouts.ssh, timeouts.clock)
        with ssh.connected(vm.port(*command.ports), spec.image.keys, deadline, vm.check) as shell:
            yield Guest(vm, shell, time.monotonic() - start, timeouts)


def _command(runner: Runner, spec: GuestSpec, accel: Accel) -> Command:
    machine = Machine(accel, spec.memory_mib, spec.cpus, spec.append, spec.machine)
    address, port = endpoint(runner, qemu.SSH_PORT)
    return Command(
        qemu.argv(machine, address, port),
        mounts=(Mount(spec.kernel, qemu.KERNEL), Mount(spec.image.initramfs, qemu.INITRAMFS)),
        ports=(port,),
        devices=(str(KVM_DEVICE),) if accel is Accel.KVM else (),
        label="guest",
    )


def _wait_for_init(vm: Vm, accel: Accel, deadline: Deadline) -> None:
    console = vm.console
    if not vm.wait(lambda: console.ready or console.not_ready or bool(console.unpacking), deadline):
        tail = console.tail()
        if accel is Accel.KVM and not tail:
            raise KvmError.of_silence(deadline.seconds)
        raise GuestError(
            f"the guest did not come up within {deadline.seconds:g} s",
            hint="give it longer with --timeouts boot=...",
            detail=tail,
        )
    if console.unpacking:
        raise GuestError(
            f"the guest could not unpack its initramfs: {console.unpacking}",
            hint="give it more memory (-m)",
            detail=console.tail(),
        )
    if console.not_ready:
        raise GuestError(f"the {'; the '.join(console.complaints)}", detail=console.tail())
