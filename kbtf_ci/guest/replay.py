# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A guest without a network that loads one module, says what came of it on its console, and ends.

A bundle's own script boots the same files with the same words, by the same command line.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from kbtf_ci.errors import GuestError, InfrastructureError
from kbtf_ci.guest import accel as acceleration
from kbtf_ci.guest.accel import KVM_DEVICE
from kbtf_ci.guest.cpio import CpioWriter
from kbtf_ci.guest.qemu import Accel, Machine, console_argv
from kbtf_ci.guest.timeouts import EMULATION_FACTOR, Deadline, Timeouts
from kbtf_ci.guest.vm import GuestDiedError, KvmError, Vm, running
from kbtf_ci.infra.runner import Command, Mount, Runner
from kbtf_ci.model.bundle import END, INITRAMFS, KERNEL, MARK, Seen
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import X86_64
from kbtf_ci.model.repro import ON_BTF, on_btf

_FILES: Final = Path(__file__).parent / "bundle"
_LINES: Final = 2000  # of the console's last ones, which hold all that such a guest says of itself
_GUEST: Final = "/guest"


def initramfs(root: bytes, name: str, carrier: bytes) -> bytes:
    """Return the archive of the guest's programs with a bundle's init and the module before it."""
    stream = io.BytesIO()
    stream.write(root)
    stream.write(bytes(-stream.tell() % 4))
    archive = CpioWriter(stream)
    archive.data(PurePosixPath("init"), (_FILES / "init").read_bytes(), 0o755)
    archive.folder(PurePosixPath("bundle"))
    archive.data(PurePosixPath("bundle/name"), name.encode() + b"\n", 0o644)
    archive.data(PurePosixPath("bundle/module.ko"), carrier, 0o644)
    archive.close()
    return stream.getvalue()


def script(machine: Machine, kernel: str, initrd: str) -> bytes:
    """Return the shell script that does with plain QEMU what ``BundleGuest`` does, on files beside it."""
    argv = list(console_argv(machine, kernel, initrd))
    accel, cpu = argv.index("-accel") + 1, argv.index("-cpu") + 1
    places = {
        "@ACCEL@": argv[accel],
        "@CPU@": argv[cpu],
        "@PROGRAM@": argv[0],
        "@ON_BTF@": ON_BTF.replace("'", "'\\''"),
    }
    argv[accel], argv[cpu] = "@accel@", "@cpu@"
    words = shlex.join(argv).replace("@accel@", '"$accel"').replace("@cpu@", '"$cpu"')
    text = (_FILES / "boot.sh").read_text()
    for place, value in {**places, "@QEMU@": words}.items():
        text = text.replace(place, value)
    return text.encode()


@dataclass(frozen=True)
class BundleGuest:
    """The guest of one bundle, whose files lie in ``folder``."""

    runner: Runner
    folder: Path
    memory_mib: int
    timeouts: Timeouts
    machine: MachineType = X86_64

    def place(self, kernel: bytes, initrd: bytes) -> None:
        """Write what is booted. Raises InfrastructureError on a full disk."""
        for path, data in ((self.folder / KERNEL, kernel), (self.folder / INITRAMFS, initrd)):
            try:
                path.write_bytes(data)
            except OSError as error:
                raise InfrastructureError(f"{path}: cannot be written: {error.strerror}") from error

    def observe(self, wanted: Accel, warn: Callable[[str], None]) -> tuple[Seen, Accel]:
        """Return what the kernel said, and in what it ran: in TCG too where KVM was only ``auto``'s choice.

        Raises as boot().
        """
        chosen = acceleration.choose(self.runner, wanted, warn, machine=self.machine)
        try:
            return self.boot(chosen), chosen
        except KvmError as error:
            if wanted is Accel.KVM:
                raise
            warn(f"{error.message}: the guest is emulated now, which is slower")
            seen = self.boot(Accel.TCG)
            # Emulated the same kernel comes to its end: it was not to blame.
            acceleration.remember(error.message)
            return seen, Accel.TCG

    def boot(self, accel: Accel) -> Seen:
        """Return what the kernel said of the module, in KVM or TCG.

        Raises GuestError for a guest that dies or does not come to the end in time, KvmError for one that
        says nothing in KVM, and what Vm.check() does.
        """
        patience = self.timeouts.scaled(EMULATION_FACTOR) if accel is Accel.TCG else self.timeouts
        with running(self.runner, self._command(accel), self.folder / "console.log") as vm:
            _wait_for_end(vm, accel, patience)
            said = _said(vm)
        try:
            seen = Seen.parse(said)
        except ValueError as error:
            raise GuestError(str(error)) from error
        return replace(seen, log=on_btf(seen.log))

    def _command(self, accel: Accel) -> Command:
        kernel, initrd = f"{_GUEST}/{KERNEL}", f"{_GUEST}/{INITRAMFS}"
        return Command(
            console_argv(Machine(accel, self.memory_mib, 1, type=self.machine), kernel, initrd),
            mounts=(Mount(self.folder / KERNEL, kernel), Mount(self.folder / INITRAMFS, initrd)),
            devices=(str(KVM_DEVICE),) if accel is Accel.KVM else (),
            label="replay",
        )


def _wait_for_end(vm: Vm, accel: Accel, patience: Timeouts) -> None:
    deadline = Deadline(patience.boot + patience.load, patience.clock)
    first_line = Deadline(patience.boot, patience.clock)
    try:
        if accel is Accel.KVM and not vm.wait(lambda: bool(vm.console.tail()), first_line):
            raise KvmError.of_silence(first_line.seconds)
        if vm.wait(lambda: END in _said(vm), deadline):
            return
    except GuestDiedError:
        if END in _said(vm):
            return  # it has turned itself off
        raise
    raise GuestError(
        f"the guest did not come to the end within {deadline.seconds:g} s",
        hint="give it longer with --timeouts boot=...",
        detail=vm.console.tail(),
    )


def _said(vm: Vm) -> list[str]:
    lines = (line.partition(MARK) for line in vm.console.tail(_LINES).split("\n"))
    return [rest for _, mark, rest in lines if mark]
