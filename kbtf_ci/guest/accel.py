# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether KVM really runs a guest here; /dev/kvm being there does not say so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kbtf_ci.errors import EngineError, InfrastructureError
from kbtf_ci.guest.qemu import KVM_CHECK_PASSED, Accel, kvm_check_argv
from kbtf_ci.guest.timeouts import Clock, Deadline
from kbtf_ci.infra.runner import Command, Process, Runner

KVM_DEVICE = Path("/dev/kvm")
# With a container's start the check guest takes 0.6 s even when emulated; a KVM that cannot run it may hang.
_CHECK_S = 15.0
_AFTER_KVM_ERROR_S = 0.3


def choose(runner: Runner, wanted: Accel, warn: Callable[[str], None], device: Path = KVM_DEVICE) -> Accel:
    """Return KVM or TCG. ``auto`` falls back to TCG and says through ``warn`` why.

    Raises InfrastructureError where ``kvm`` is wanted and does not run.
    """
    if wanted is Accel.TCG:
        return Accel.TCG
    reason = kvm_works(runner, device)
    if not reason:
        return Accel.KVM
    if wanted is Accel.KVM:
        raise InfrastructureError(f"KVM runs no guest here: {reason}", hint="use --accel tcg, or auto")
    warn(f"KVM runs no guest here, so the guest is emulated, which is slower: {reason}")
    return Accel.TCG


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
