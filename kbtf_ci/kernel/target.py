# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What kbuild is told so that it builds for an architecture, and which of its files boots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kbtf_ci.errors import UsageError
from kbtf_ci.model.machines import arm64, ppc64le, riscv64, s390x, x86_64
from kbtf_ci.model.machines.machine import MachineType


@dataclass(frozen=True)
class Target:
    """An architecture to build for, by the machine that its guests run on.

    ``image`` is the path of what boots, below the build directory.
    """

    machine: MachineType
    image: str

    @property
    def architecture(self) -> str:
        """Its name, as --arch has it."""
        return self.machine.name

    @property
    def arch(self) -> str:
        """Kbuild's own name, that of the folder in arch/."""
        return self.machine.architecture.kernel

    @property
    def prefix(self) -> str:
        """What stands before the names of the cross compiler's programs, "" for the machine's own."""
        return "" if self.machine is x86_64.MACHINE else f"{self.machine.triplet}-"

    @property
    def variables(self) -> tuple[str, ...]:
        """Make's variables for it; none where kbuild finds out by itself."""
        return (f"ARCH={self.arch}", f"CROSS_COMPILE={self.prefix}") if self.prefix else ()


NATIVE: Final = Target(x86_64.MACHINE, "arch/x86/boot/bzImage")
TARGETS: Final = (
    NATIVE,
    Target(arm64.MACHINE, "arch/arm64/boot/Image"),
    Target(s390x.MACHINE, "arch/s390/boot/bzImage"),
    Target(riscv64.MACHINE, "arch/riscv/boot/Image"),
    # QEMU's pseries starts the ELF file itself; arch/powerpc/boot has nothing smaller that it takes.
    Target(ppc64le.MACHINE, "vmlinux"),
)


def target_of(architecture: str) -> Target:
    """Return the target of that name. Raises UsageError for one that nothing is built for."""
    for target in TARGETS:
        if target.architecture == architecture:
            return target
    known = ", ".join(target.architecture for target in TARGETS)
    raise UsageError(f"--arch {architecture}: no kernel is built for that", hint=f"known are {known}")
