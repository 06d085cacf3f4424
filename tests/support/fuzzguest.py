# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Any number of carriers through guests of a run's kernel: what the kernel says of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest import probe
from kbtf_ci.guest.guest import GuestSpec, booted
from kbtf_ci.guest.image import make_image, root_archive
from kbtf_ci.guest.kmsg import Record
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.ssh import CommandError, ShellLostError, SilenceError
from kbtf_ci.guest.vm import GuestDiedError
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runner import Runner
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import Death, LoadMode, Observation
from kbtf_ci.objfile.carrier import make_carrier
from kbtf_ci.objfile.inventory import inventory
from tests.support.mutate import Mutant

_COMMAND = (*probe.COMMAND, "--once")
_MIB = 1 << 20
_MEMORY_MIB = 768
# A load that fails, and an unload, wait for RCU; measured over 1,000 mutants, in one CPU: 2 s with it, with
# two CPUs and without it 24 s.
_EXPEDITED = "rcupdate.rcu_expedited=1"


@dataclass(frozen=True)
class Subject:
    """The kernel and the modules of a run directory."""

    run: Path
    template: bytes  # a carrier of its smallest module

    @classmethod
    def of(cls, run: Path) -> Subject:
        smallest = min(inventory(run / "kernel/modules").modules, key=lambda module: module.btf_bytes)
        return cls(run, make_carrier((run / "kernel/modules" / smallest.file).read_bytes()))

    def carrier(self, name: str, mutant: Mutant) -> bytes:
        """Return the carrier of a mutant, by a name of its own."""
        carrier = make_carrier(self.template, name=name, btf=mutant.btf or b"", base=mutant.base)
        return carrier if mutant.btf is not None else carrier.replace(b"\0.BTF\0", b"\0.XTF\0")


class Loads:
    """The observations of one fuzz run, guest after guest."""

    def __init__(self, runner: Runner, subject: Subject, folder: Path) -> None:
        self._runner, self._subject, self._folder = runner, subject, folder
        self.boots = 0
        self.boot_s = 0.0

    def observe(self, mutants: Mapping[str, Mutant]) -> Iterator[Observation]:
        """Load each mutant under its name, unload it again, and yield what the kernel said, in order.

        A guest that dies costs a boot, and the first mutant that it left without an answer is observed with
        that death.
        """
        spec = self._spec(mutants)
        waiting = [Module(name, f"{name}.ko", 1, "") for name in mutants]
        while waiting:
            for observation in self._one_guest(spec, waiting):
                assert observation.name == waiting[0].name
                waiting.pop(0)
                yield observation

    def _spec(self, mutants: Mapping[str, Mutant]) -> GuestSpec:
        carriers = self._folder / "carriers"
        carriers.mkdir(parents=True)
        for name, mutant in mutants.items():
            (carriers / f"{name}.ko").write_bytes(self._subject.carrier(name, mutant))
        modules = [Module(name, f"{name}.ko", 1, "") for name in mutants]
        image = make_image(root_archive(self._runner), self._folder, carriers, modules)
        memory = _MEMORY_MIB + 2 * image.initramfs.stat().st_size // _MIB
        kernel = self._subject.run / "kernel/bzImage"
        machine = machine_of(RunDirectory(self._subject.run).read_record().architecture, str(kernel))
        return GuestSpec(kernel, image, memory, 1, Accel.TCG, append=_EXPEDITED, machine=machine)

    def _one_guest(self, spec: GuestSpec, waiting: list[Module]) -> Iterator[Observation]:
        requests = [probe.request(LoadMode.CARRIER, module) for module in waiting]
        left = [module.name for module in waiting]
        self.boots += 1
        with booted(self._runner, spec, Accel.TCG, self._folder / "console.log", print) as guest:
            self.boot_s = self.boot_s or guest.boot_s
            # Nothing to the serial console, which in emulation takes longer than the loads.
            list(guest.shell.run(("dmesg", "-n", "1"), silence=guest.timeouts.ssh))
            order = _Order()
            try:
                for line in guest.shell.run(_COMMAND, requests, guest.timeouts.load):
                    answer = probe.parse(line)
                    order.check(answer.records)
                    if answer.observation is not None:
                        left.pop(0)
                        yield answer.observation
            except GuestDiedError as end:
                yield Observation(left[0], LoadMode.CARRIER, death=end.death, log=(end.message,))
            except SilenceError as end:
                yield Observation(left[0], LoadMode.CARRIER, death=Death.HANG, log=(end.message,))
            except (ShellLostError, CommandError) as end:
                raise InfrastructureError(f"the guest was lost before {left[0]}: {end.message}") from end


class _Order:
    """Holds the records to their sequence numbers: no record of the kernel's log is lost."""

    def __init__(self) -> None:
        self._last: int | None = None

    def check(self, records: tuple[Record, ...]) -> None:
        for record in records:
            assert self._last is None or record.sequence == self._last + 1, (
                f"records lost between {self._last} and {record} of {[(r.sequence, r.text) for r in records]}"
            )
            self._last = record.sequence
