# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A guest of a run directory that stays up, and does what a person or a program asks of it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.guest import accel as acceleration
from kbtf_ci.guest import files, probe
from kbtf_ci.guest.guest import Guest, GuestSpec, booted
from kbtf_ci.guest.image import root_archive
from kbtf_ci.guest.modprobe import MODULES, guest_file
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.ssh import CommandError
from kbtf_ci.guest.vm import KvmError
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.runner import Runner
from kbtf_ci.infra.runs import old_run
from kbtf_ci.infra.text import printable
from kbtf_ci.model.module import Module, closure, dependency_order
from kbtf_ci.model.outcome import LoadMode, Observation
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT, ElfImage, module_entry
from kbtf_ci.objfile.inventory import inventory
from kbtf_ci.workflow.guests import GuestFactory, GuestOptions
from kbtf_ci.workflow.workspace import guest_tools, toolchain

_SYSFS: Final = "/sys/kernel/btf"


@dataclass(frozen=True)
class Ran:
    """The end of a command: all that it printed, on both outputs; ``status`` None when a signal ended it."""

    status: int | None
    output: str


class LiveGuest:
    """A guest that answers, with all of its kernel's modules at hand and none of them loaded.

    Whatever is asked of it raises GuestError when its kernel dies over it, and InfrastructureError for a
    silence, a lost connection, engine and QEMU. ``release`` is its kernel's.
    """

    def __init__(self, guest: Guest, modules: Sequence[Module], release: str) -> None:
        self.release = release
        self._guest = guest
        self._modules = tuple(modules)
        self._copies = 0

    @property
    def boot_s(self) -> float:
        """Seconds from its start until it answered."""
        return self._guest.boot_s

    def run(self, command: str | Sequence[str], *, silence: float | None = None) -> Ran:
        """Run a command: a line for the guest's shell, or its words.

        ``silence`` are the seconds for which it may print nothing, without it those of ``--timeouts load``.
        """
        argv = ("sh", "-c", command) if isinstance(command, str) else tuple(command)
        lines: list[str] = []
        status: int | None = 0
        try:
            lines.extend(self._guest.shell.run(argv, silence=self._silence(silence)))
        except CommandError as error:
            status = error.status
        return Ran(status, "".join(f"{line}\n" for line in lines))

    def load(self, module: str | Path, mode: LoadMode = LoadMode.REAL) -> Observation:
        """Load one of the kernel's modules by name, or a module's file of this machine; say what came of it.

        What it depends on is loaded first, inert where it does not stay for real. ``errno`` is EEXIST for one
        that is loaded already. Raises UsageError for what is no module, and for ``carrier``.
        """
        if mode is LoadMode.CARRIER:
            raise UsageError("a live guest has no carriers", hint="load the module real or inert")
        wanted, path = self._copied(module) if isinstance(module, Path) else self._known(module)
        for one in dependency_order(self._below(wanted)):
            if self._put(one, mode, self._path(one)).errno not in (0, errno.EEXIST):
                self._put(one, LoadMode.INERT, self._path(one))
        return self._put(wanted, mode, path)

    def read_btf(self, name: str) -> bytes:
        """Return the BTF of a module, or of ``vmlinux``, as the kernel shows it below /sys/kernel/btf.

        Raises UsageError where it shows none.
        """
        path = f"{_SYSFS}/{name}"
        if "/" in name or self.run(("test", "-f", path)).status != 0:
            raise UsageError(
                f"the guest has no {printable(path)}", hint="only a module that is loaded has its BTF there"
            )
        return files.read(self._guest.shell, path, self._silence(None))

    def interact(self) -> int:
        """Connect this process's input and output to a shell in it; return its exit status."""
        return self._guest.shell.interact()

    def _silence(self, seconds: float | None) -> float:
        return self._guest.timeouts.load if seconds is None else seconds

    def _known(self, name: str) -> tuple[Module, str]:
        for module in self._modules:
            if module.name == name.replace("-", "_"):
                return module, self._path(module)
        raise UsageError(f"{self.release} has no module {printable(name)}", hint="a file is named by a Path")

    def _below(self, module: Module) -> list[Module]:
        """Return what a module depends on, directly or not, of the kernel's own."""
        names = closure(module.depends, self._modules) - {module.name}
        return [one for one in self._modules if one.name in names]

    def _path(self, module: Module) -> str:
        return str(Path("/") / MODULES / self.release / guest_file(module))

    def _copied(self, file: Path) -> tuple[Module, str]:
        """Copy a module of this machine into the guest, unpacked; return it and its path there."""
        data = load(file, MODULE_LIMIT)[:]
        module = module_entry(ElfImage(data, str(file)), file.name)
        if module.name.split() != [module.name]:
            raise UsageError(f"{file}: calls itself {module.name!r}, which is no module's name")
        self._copies += 1
        path = f"/tmp/kbtf-ci-{self._copies}.ko"  # noqa: S108 - the guest's
        files.write(self._guest.shell, path, data, self._silence(None))
        return module, path

    def _put(self, module: Module, mode: LoadMode, path: str) -> Observation:
        request = f"{mode} {module.name} {path}"
        for line in self._guest.shell.run(probe.COMMAND, [request], self._silence(None)):
            observation = probe.parse(line).observation
            if observation is not None:
                return observation
        raise InfrastructureError(f"the probe ended without a word on {module.name}")


@contextmanager
def live_guest(
    path: Path, options: GuestOptions, reporter: Reporter, console: Path | None = None
) -> Iterator[LiveGuest]:
    """Boot the kernel of a run directory; leaving the context ends the guest.

    The folder is held until the guest is up. ``console`` is the log of its serial console, without it
    ``shell-console.log`` in the folder. Raises KbtfError.
    """
    with ExitStack() as stack:
        with old_run(path, reporter) as this:
            kernel = this.directory.kernel_of(this.record.run)
            runner = guest_tools(toolchain(this.record.run.suite, reporter), kernel, reporter).runner
            listed = inventory(kernel.modules, kernel.skipped_btf, kernel.files)
            modules = tuple(module for module in listed.modules if not module.fault)
            root = root_archive(runner)
            factory = GuestFactory(kernel, options, runner, this.directory, kernel.image, root)
            spec = factory.for_modprobe(modules)
            log = console or this.directory.file("shell-console.log")
            accel = acceleration.choose(runner, spec.accel, reporter.warn, machine=spec.machine)
            guest = up(stack, runner, spec, accel, log=log, warn=reporter.warn)
        # The guest has read all that it was made of.
        yield LiveGuest(guest, modules, kernel.facts.release)


def up(
    stack: ExitStack, runner: Runner, spec: GuestSpec, accel: Accel, *, log: Path, warn: Callable[[str], None]
) -> Guest:
    """Boot a guest that ``stack`` ends, emulated where KVM does not run it and was not asked for by name.

    Raises as booted().
    """
    try:
        return stack.enter_context(booted(runner, spec, accel, log, warn))
    except KvmError as error:
        if spec.accel is not Accel.AUTO or accel is Accel.TCG:
            raise
        warn(f"{error.message}: the guest is emulated, which is slower")
        guest = stack.enter_context(booted(runner, spec, Accel.TCG, log, warn))
        acceleration.remember(error.message)
        return guest
