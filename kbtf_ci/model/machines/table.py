# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""All machines that guests can run on, by their architecture."""

from __future__ import annotations

from typing import Final

from kbtf_ci.errors import UsageError
from kbtf_ci.model.machines import arm64, ppc64le, riscv64, s390x, x86_64
from kbtf_ci.model.machines.machine import MachineType

X86_64: Final = x86_64.MACHINE
MACHINES: Final = (X86_64, arm64.MACHINE, s390x.MACHINE, ppc64le.MACHINE, riscv64.MACHINE)
# Those that need an image on top of the toolchain's.
FOREIGN: Final = tuple(machine for machine in MACHINES if machine is not X86_64)


def machine_of(architecture: str, subject: str) -> MachineType:
    """Return the machine of an architecture, by its name.

    Raises UsageError that names ``subject`` where there is none.
    """
    for machine in MACHINES:
        if machine.name == architecture:
            return machine
    known = ", ".join(machine.name for machine in MACHINES)
    raise UsageError(
        f"{subject}: a kernel for {architecture}, which no guest of ours runs on",
        hint=f"there are guests for {known}; kbtf-ci check reads modules and kernels of any architecture",
    )
