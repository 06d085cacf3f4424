# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""All modules, put before the kernel one by one, through every phase and every death of the guest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from kbtf_ci.errors import GuestError, InfrastructureError
from kbtf_ci.guest import accel as acceleration
from kbtf_ci.guest import probe
from kbtf_ci.guest.boot_log import BootLog
from kbtf_ci.guest.console import Console
from kbtf_ci.guest.guest import Guest, GuestSpec, booted
from kbtf_ci.guest.plan import Batch, Plan
from kbtf_ci.guest.prove import Prover
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.ssh import CommandError, ShellLostError, SilenceError
from kbtf_ci.guest.timeouts import Deadline
from kbtf_ci.guest.vm import GuestDiedError, KvmError
from kbtf_ci.guest.vmlinux_btf import read_if_other
from kbtf_ci.infra.runner import Runner
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import Death, LoadMode, LoadPolicy, Observation

# Only what ends a kernel: the serial console takes longer in emulation than the loads it tells of.
_QUIET = ("dmesg", "-n", "1")
CONSOLE_LOG = "console.log"
KMSG_LOG = "kmsg.log"


@dataclass(frozen=True)
class Listener:
    """Who is told what as it happens.

    Each observation, each boot (its number and seconds), each warning of ours, each warning of the kernel's,
    and the BTF of vmlinux as a guest has it in memory, b"" for none. ``prover`` is given each guest that has
    loaded all it will, with the modules that are there with their code.
    """

    observed: Callable[[Observation], None]
    booted: Callable[[int, float], None]
    warned: Callable[[str], None]
    kernel_warned: Callable[[KernelWarning], None] = lambda _: None
    vmlinux_read: Callable[[bytes], None] = lambda _: None
    prover: Prover | None = None


@dataclass(frozen=True)
class GuestRun:
    """How the guests ran.

    ``boot_s`` of the first boot, up to SSH; ``load_s`` of all loads together. With several ``guests`` at once
    it is that of the slowest.
    """

    accel: Accel
    boots: int
    boot_s: float
    load_s: float
    guests: int = 1


def observe(
    runner: Runner,
    spec: GuestSpec,
    modules: Iterable[Module],
    policy: LoadPolicy,
    *,
    logs: Path,
    listener: Listener,
    accel: Accel | None = None,
) -> GuestRun:
    """Load every module as ``policy`` says and tell ``listener`` what came of each.

    ``accel`` is what ``spec.accel`` came to; without it that is found out first. Writes CONSOLE_LOG and
    KMSG_LOG into ``logs``. A module under which the guest dies costs a boot: it is observed as such, and the
    run goes on without it. Raises GuestError when a guest does not come up, or dies without any progress;
    InfrastructureError for QEMU, SSH and engine. What was observed before was told already.
    """
    spec.check()
    for name in (CONSOLE_LOG, KMSG_LOG):
        (logs / name).write_bytes(b"")
    accel = accel or acceleration.choose(runner, spec.accel, listener.warned, machine=spec.machine)
    plan = Plan(modules, policy, spec.image.present)
    session = _Session(runner, spec, accel, plan, logs, listener)
    while session.needs_guest():
        try:
            session.run_guest()
        except KvmError as error:
            session.fall_back(error)
        except GuestError as error:
            session.unpack_itself(error)
    return GuestRun(session.accel, session.boots, session.boot_s, session.load_s)


@dataclass
class _Session:
    """The state of ``observe``: one guest at a time."""

    runner: Runner
    spec: GuestSpec
    accel: Accel
    plan: Plan
    logs: Path
    listener: Listener
    boots: int = 0
    boot_s: float = 0.0
    load_s: float = 0.0
    progress: bool = False
    kvm_failure: str = ""
    died_quietly: bool = False
    vmlinux_read: bool = False
    loaded: list[str] = field(default_factory=list)

    def needs_guest(self) -> bool:
        return self.plan.next_batch() is not None

    def fall_back(self, error: KvmError) -> None:
        """Go on without KVM, if that was only ``auto``'s choice."""
        if self.spec.accel is not Accel.AUTO or self.accel is Accel.TCG:
            raise error
        self.listener.warned(f"{error.message}: the guest is emulated from here on, which is slower")
        self.kvm_failure = error.message
        self.accel = Accel.TCG

    def unpack_itself(self, error: GuestError) -> None:
        """Go on with the image that the vmlinux lay in, if that never came up."""
        packed = self.spec.packed
        if packed is None or self.boot_s:
            raise error
        self.listener.warned(f"{error.message}; from here on {packed.name} is booted, which unpacks itself")
        self.spec = replace(self.spec, kernel=packed, packed=None)

    def run_guest(self) -> None:
        """Boot a guest and load what is left until it dies or nothing is left."""
        self.progress = False
        self._begin_boot()
        emulated = self.accel is Accel.TCG
        log = BootLog(self.logs / KMSG_LOG, self.listener.kernel_warned, emulated=emulated)
        console_log = self.logs / CONSOLE_LOG
        with booted(self.runner, self.spec, self.accel, console_log, self.listener.warned) as guest:
            self.listener.booted(self.boots, guest.boot_s)
            self.boot_s = self.boot_s or guest.boot_s
            if self.kvm_failure:
                # Emulated the same kernel comes up: it was not to blame.
                acceleration.remember(self.kvm_failure)
            trouble = None
            self._read_vmlinux(guest)
            self.plan.new_guest()
            while trouble is None and (batch := self.plan.next_batch()):
                trouble = self._load(guest, batch, log)
            if trouble is None and self.listener.prover is not None:
                self.listener.prover.prove(guest.shell, self.loaded, guest.timeouts.load)
        if trouble is not None and not self.progress:
            raise GuestError(
                f"the guest dies again and again, and no module is to blame: {trouble.message}",
                detail=trouble.detail,
            )

    def _read_vmlinux(self, guest: Guest) -> None:
        if self.spec.btf is None or self.vmlinux_read:
            return
        self.vmlinux_read = True
        try:
            self.listener.vmlinux_read(read_if_other(guest.shell, self.spec.btf, guest.timeouts.load))
        except (SilenceError, ShellLostError, InfrastructureError) as error:
            self.listener.warned(f"the guest's BTF of vmlinux was not read: {error.message}")

    def _begin_boot(self) -> None:
        self.boots += 1
        self.loaded.clear()
        if self.boots > 1:
            for name in (CONSOLE_LOG, KMSG_LOG):
                with (self.logs / name).open("a", encoding="utf-8") as file:
                    file.write(f"\n--- kbtf-ci: boot {self.boots} ---\n")

    def _load(self, guest: Guest, batch: Batch, log: BootLog) -> GuestError | InfrastructureError | None:
        """Load ``batch``; return what ended the guest, None if it lives."""
        waiting = {module.name: None for module in batch.modules}
        start = time.monotonic()
        # A carrier has no code that could end the guest. Where one does, it is found with the console on.
        quiet = batch.mode is LoadMode.CARRIER and not self.died_quietly
        try:
            if quiet:
                list(guest.shell.run(_QUIET, silence=guest.timeouts.ssh))
            self._run_probe(guest, batch, log, waiting)
        except (GuestDiedError, SilenceError, ShellLostError, CommandError) as error:
            self.died_quietly = quiet
            self._lose(guest, batch.mode, waiting, log, error)
            return error
        finally:
            self.load_s += time.monotonic() - start
            log.finish()
        if waiting:
            raise InfrastructureError(f"the probe ended without a word on {', '.join(waiting)}")
        return None

    def _run_probe(self, guest: Guest, batch: Batch, log: BootLog, waiting: dict[str, None]) -> None:
        present = self.spec.image.present
        requests = [probe.request(batch.mode, module, present) for module in batch.modules]
        for line in guest.shell.run(probe.COMMAND, [*requests, probe.SETTLE], guest.timeouts.load):
            answer = probe.parse(line)
            log.add(answer.before)
            if answer.observation is not None:
                waiting.pop(answer.observation.name, None)
                if answer.observation.name not in present:
                    log.begin_load(answer.observation.name)
                log.add(answer.during)
                self._record(answer.observation)

    def _lose(
        self,
        guest: Guest,
        mode: LoadMode,
        waiting: dict[str, None],
        log: BootLog,
        error: GuestError | InfrastructureError,
    ) -> None:
        """Observe the end of a guest, and what its console said of it."""
        death, words = _death(guest, error)
        if death is None:
            return
        console = guest.vm.console
        if self.died_quietly and waiting:
            self.progress = True
            self.listener.warned(f"a guest died under carriers ({death}): which one did it is found out anew")
            return
        name = console.marker.name if console.marker is not None else next(iter(waiting), "")
        log.add_console(console.since_marker(), name)
        if death is Death.HANG and not waiting:
            # Every load has had its answer: whatever keeps a CPU now is told, and none of them fails for it.
            self.listener.warned(f"after the last load {words.removeprefix('kbtf-ci: ')}")
        elif name:
            self._blame(name, console.marker.mode if console.marker else mode, console, death, words)

    def _blame(self, name: str, mode: LoadMode, console: Console, death: Death, words: str) -> None:
        """Observe the death of the module last announced on the console, else of the first unanswered one."""
        log = console.since_marker()
        self._record(Observation(name, mode, log=(*log, words) if words else log, death=death))

    def _record(self, observation: Observation) -> None:
        if observation.sysfs_sha256 is not None and observation.mode is not LoadMode.CARRIER:
            self.loaded.append(observation.name)
        if self.plan.record(observation):
            self.progress = True
            self.listener.observed(observation)


def _death(guest: Guest, error: GuestError | InfrastructureError) -> tuple[Death | None, str]:
    """Return how the guest ended, and words of our own for a module's log; None when it lives.

    Raises what is not the kernel's doing: QEMU killed, KVM's errors, the engine's.
    """
    try:
        guest.vm.wait(lambda: False, Deadline(0))
        if isinstance(error, SilenceError):
            return _hang(guest, error)
    except GuestDiedError as end:
        return end.death, ""
    if guest.vm.console.oops:
        return Death.OOPS, ""  # with oops=panic taken back by --append
    if isinstance(error, ShellLostError):
        return Death.HANG, f"kbtf-ci: {error.message}; the guest still runs"
    return None, ""


def _hang(guest: Guest, error: SilenceError) -> tuple[Death, str]:
    alive = guest.shell.ping(min(guest.timeouts.ping, guest.timeouts.ssh))
    state = "its kernel still answers over SSH" if alive else "nor does it answer over SSH"
    return Death.HANG, f"kbtf-ci: {error.message}; {state}"
