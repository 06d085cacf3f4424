# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The guests of one kernel: how many, what each loads and how, and the image that each boots from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.guest.carriers import CarrierArchive, deal
from kbtf_ci.guest.fleet import Share, shares
from kbtf_ci.guest.guest import GuestSpec
from kbtf_ci.guest.image import EarlyModule, GuestImage, default_memory_mib, make_image
from kbtf_ci.guest.needs import loaded_first
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.strip import lean_modules, unpack_modules
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import X86_64, machine_of
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadPolicy
from kbtf_ci.model.proof import Prove
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT
from kbtf_ci.objfile.files import OpenKernel, boots_by_pvh
from kbtf_ci.objfile.inventory import check_unaltered

# Loaded for real, more modules than these take longer the more of them are in.
_REAL_UP_TO = 1500
# A guest more costs a boot, which is worth it from so many modules on. Of modules loaded for real fewer stay
# loaded in two guests: some need what another, on which they do not depend, has registered.
_MODULES_A_GUEST = 1000


@dataclass(frozen=True)
class GuestOptions:
    """What the user asked for of the guests; None leaves it to the profile or to what there is to load.

    ``extra`` are modules that are loaded besides the kernel's own, ``extra_only`` whether of those only what
    they need is. ``prove`` is what BPF programs are tried on all modules, for which these are loaded with
    their code.
    """

    accel: Accel = Accel.AUTO
    memory_mib: int | None = None
    cpus: int | None = None
    append: str = ""
    load: LoadPolicy | None = None
    guests: int | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    fail_on: frozenset[FailOn] = DEFAULT_FAIL_ON
    extra: tuple[Path, ...] = ()
    extra_only: bool = False
    prove: Prove | None = None

    def require_fit(self, machine: MachineType) -> None:
        """Raise UsageError where guests on a machine cannot do what is asked of them."""
        if self.prove and machine is not X86_64:
            raise UsageError(
                f"--prove tries programs on x86_64 alone, and this kernel is for {machine.name}",
                hint="leave --prove out",
            )

    def policy(self, modules: int, signatures: str = "") -> LoadPolicy:
        """Return how so many modules are loaded: as carriers where all for real would take too long.

        ``signatures`` is what makes the kernel take signed modules alone, which only a module as it was built
        is. Raises UsageError where the user wants another way.
        """
        if signatures and self.load in {LoadPolicy.INERT, LoadPolicy.CARRIER}:
            raise UsageError(
                f"--load {self.load}: this kernel loads signed modules alone: {signatures}",
                hint="leave --load out, or take it out of the kernel's configuration or --append",
            )
        if signatures:
            return LoadPolicy.REAL
        if self.load is not None:
            return self.load
        if self.prove:
            return LoadPolicy.AUTO  # a carrier has no function
        return LoadPolicy.CARRIER if modules > _REAL_UP_TO else LoadPolicy.AUTO

    def number(self, modules: int) -> int:
        """Return how many guests at once are worth their boots, at most one a core."""
        return self.guests or max(1, min(len(os.sched_getaffinity(0)), modules // _MODULES_A_GUEST))


def bootable(opened: OpenKernel, folder: Path) -> Path:
    """Return what to boot: the vmlinux in an image where QEMU can start it, else the image.

    It is written to ``folder``: an emulated guest takes seconds to unpack itself. Raises
    InfrastructureError on a full disk.
    """
    vmlinux, file = opened.vmlinux, opened.file
    if vmlinux is None or file.kind != "bzImage" or not boots_by_pvh(vmlinux):
        return file.path
    path = folder / "vmlinux"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(vmlinux.data)
    except OSError as error:
        raise InfrastructureError(f"{path}: cannot be written: {error.strerror}") from error
    return path


@dataclass(frozen=True)
class GuestFactory:
    """What guests of one kernel are made of.

    ``boots`` is the file that QEMU is given as the kernel, ``root`` the root archive of the guest, ``btf``
    what the kernel's vmlinux shall have in memory, None where nobody asks. ``signed``: modules keep the
    signatures that they have, and so their debug information.
    """

    kernel: BuiltKernel
    options: GuestOptions
    runner: Runner
    directory: RunDirectory
    boots: Path
    root: bytes
    btf: bytes | None = None
    signed: bool = False

    @property
    def machine(self) -> MachineType:
        """What its guests run on."""
        return machine_of(self.kernel.architecture, self.kernel.origin)

    def with_carriers(
        self, archives: Sequence[CarrierArchive], modules: Sequence[Module]
    ) -> tuple[Share, ...]:
        """Return the guests that share the carriers of ``modules``, which lie in ``archives``."""
        by_stored = {module.stored: module for module in modules}
        early = self.early_modules(modules)
        dealt = deal(archives, self.options.number(len(modules)))
        found = []
        for number, part in enumerate(dealt, 1):
            folder, logs = self._places(number if len(dealt) > 1 else None)
            image = make_image(self.root, folder, early_modules=early, archives=[one.path for one in part])
            carried = [by_stored[stored] for one in part for stored in one.stored if stored in by_stored]
            found.append(Share(self._spec(image), tuple(sorted(carried, key=lambda m: m.file)), logs))
        return tuple(found)

    def with_modules(self, modules: Sequence[Module], policy: LoadPolicy) -> tuple[Share, ...]:
        """Return the guests that share ``modules``, whole but for their debug information."""
        lean, early = self._lean(modules), self.early_modules(modules)
        divided = shares(modules, self.options.number(len(modules)), policy)
        found = []
        for number, part in enumerate(divided, 1):
            folder, logs = self._places(number if len(divided) > 1 else None)
            image = make_image(self.root, folder, lean, part, early)
            found.append(Share(self._spec(image), part, logs))
        return tuple(found)

    def with_archive(self, archive: CarrierArchive, early_modules: Sequence[EarlyModule]) -> GuestSpec:
        """Return one guest with the files of an archive, whatever they are, behind its ``early_modules``."""
        folder, _ = self._places(None)
        image = make_image(self.root, folder, early_modules=early_modules, archives=[archive.path])
        return self._spec(image)

    def for_modprobe(self, modules: Sequence[Module]) -> GuestSpec:
        """Return one guest that carries all ``modules`` where modprobe finds them."""
        release = self.kernel.facts.release
        folder, _ = self._places(None)
        image = make_image(
            self.root, folder, self._lean(modules), modules, self.early_modules(modules), release=release
        )
        return self._spec(image)

    def _places(self, number: int | None) -> tuple[Path, Path]:
        """Return the folders of a guest's image and of its logs; ``number`` None: it is the only one."""
        if number is None:
            return self.directory.guest, self.directory.path
        folder = self.directory.guest / str(number)
        return folder, folder

    def _lean(self, modules: Sequence[Module]) -> Path:
        target = self.directory.guest_modules
        jobs = len(os.sched_getaffinity(0))
        if self.signed:
            unpack_modules(self.kernel.modules, target, modules, jobs)
        else:
            lean_modules(self.runner, self.kernel.modules, target, modules, jobs)
        check_unaltered(modules, target)
        return target

    def early_modules(self, modules: Sequence[Module]) -> tuple[EarlyModule, ...]:
        """Return the modules without which the guest has no network; none of a kernel built for it."""
        kernel = self.kernel
        if kernel.builtin is None:
            return ()
        return tuple(
            EarlyModule(one.name, load(kernel.modules / one.stored, MODULE_LIMIT)[:])
            for one in loaded_first(modules, kernel.builtin, kernel.config or None, self.machine)
        )

    def _spec(self, image: GuestImage) -> GuestSpec:
        kernel, options = self.kernel, self.options
        return GuestSpec(
            kernel=self.boots,
            packed=kernel.image if self.boots != kernel.image else None,
            image=image,
            memory_mib=options.memory_mib or kernel.memory_mib or default_memory_mib(image.initramfs),
            cpus=options.cpus or kernel.cpus,
            accel=options.accel,
            append=options.append,
            timeouts=options.timeouts,
            btf=self.btf,
            machine=self.machine,
        )
