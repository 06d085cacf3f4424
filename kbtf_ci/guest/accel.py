# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether KVM really runs a guest here; /dev/kvm being there does not say so.

The smallest guest may run where a kernel does not: it prints nothing, or dies. That is found out once, and
remembered until the machine is booted again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from kbtf_ci.errors import EngineError, InfrastructureError
from kbtf_ci.guest.qemu import KVM_CHECK_PASSED, Accel, kvm_check_argv
from kbtf_ci.guest.timeouts import Clock, Deadline
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.runner import Command, Process, Runner
from kbtf_ci.infra.whole import whole_file
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import X86_64

KVM_DEVICE = Path("/dev/kvm")
# With a container's start the check guest takes 0.6 s even when emulated; a KVM that cannot run it may hang.
_CHECK_S = 15.0
_AFTER_KVM_ERROR_S = 0.3
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def choose(
    runner: Runner,
    wanted: Accel,
    warn: Callable[[str], None],
    device: Path = KVM_DEVICE,
    *,
    machine: MachineType = X86_64,
    host: str = os.uname().machine,
) -> Accel:
    """Return KVM or TCG for guests on ``machine``. ``auto`` falls back to TCG and says through ``warn`` why.

    A guest of another architecture than ``host``'s (as ``uname -m`` names it) is emulated, without a warning.
    Where a kernel did not run in KVM since this machine was booted, ``auto`` does not try again. Raises
    InfrastructureError where ``kvm`` is wanted and does not run.
    """
    if wanted is Accel.TCG:
        return Accel.TCG
    if machine.architecture.uname != host:
        if wanted is Accel.KVM:
            raise InfrastructureError(
                f"KVM runs no guest of {machine.name} on this machine, which is {host}",
                hint="use --accel tcg, or auto",
            )
        return Accel.TCG
    reason = remembered() if wanted is Accel.AUTO else ""
    reason = reason or _unfit(runner, device, machine)
    if not reason:
        return Accel.KVM
    if wanted is Accel.KVM:
        raise InfrastructureError(f"KVM runs no guest here: {reason}", hint="use --accel tcg, or auto")
    warn(f"KVM runs no guest here, so the guest is emulated, which is slower: {reason}")
    return Accel.TCG


def _unfit(runner: Runner, device: Path, machine: MachineType) -> str:
    """Return why KVM runs no guest on ``machine``, as far as that can be told beforehand, else ""."""
    if machine is X86_64:
        return kvm_works(runner, device)
    return "" if device.exists() else f"there is no {device}"


def remember(reason: str) -> None:
    """Keep, until this machine is booted again, why a kernel did not run in KVM."""
    try:
        with whole_file(_memory()) as file:
            file.write(json.dumps({"boot_id": _boot_id(), "reason": reason}).encode())
    except OSError:
        return  # it is found out again, which takes time and is no error


def remembered() -> str:
    """Return why a kernel did not run in KVM since this machine was booted, and how to try again, else ""."""
    try:
        kept = json.loads(_memory().read_bytes())
        if kept["boot_id"] == _boot_id():
            return f"{kept['reason']} (found before, and kept in {_memory()}: remove that to try again)"
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return ""


def _memory() -> Path:
    return cache_root() / "kvm.json"


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def kvm_works(runner: Runner, device: Path = KVM_DEVICE, clock: Clock = time.monotonic) -> str:
    """Return "" when a guest runs in KVM, else why not, in a line. It runs a very small one."""
    if not device.exists():
        return f"there is no {device}"
    command = Command(kvm_check_argv(), devices=(str(device),), label="KVM check")
    try:
        with runner.start(command) as process:
            output, ended = _follow(process, clock)
            status = process.wait() if ended else None
    except EngineError as error:
        return error.message
    if status == KVM_CHECK_PASSED:
        return ""
    message = output.decode(errors="replace").split("\n")[0].strip()
    if status is None:
        return message or f"a guest of a few instructions did not end within {_CHECK_S:g} s"
    return message or f"QEMU ended with status {status}"


def _follow(process: Process, clock: Clock) -> tuple[bytes, bool]:
    """Return QEMU's output, and whether it ended. After a KVM error it stays, paused, and is left so."""
    output = b""
    deadline = Deadline(_CHECK_S, clock)
    while not deadline.passed:
        try:
            piece = process.read(deadline.left)
        except TimeoutError:
            break
        if not piece:
            return output, True
        output += piece
        if b"KVM internal error" in output or b"kvm run failed" in output:
            deadline = min(deadline, Deadline(_AFTER_KVM_ERROR_S, clock), key=lambda d: d.left)
    return output, False
