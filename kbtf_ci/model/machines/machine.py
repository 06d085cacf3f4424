# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A machine that guests of one architecture run on: what QEMU is told, and what a kernel must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kbtf_ci.model.architecture import ARCHITECTURES, Architecture


@dataclass(frozen=True)
class MachineType:
    """One machine type of QEMU's.

    ``qemu`` is the program, of Debian's package ``package``; ``machine``, ``cpu`` (emulated) and
    ``network`` are the values of its options. ``console`` is the kernel's name of the device at the end of
    QEMU's -serial, ``console_symbol`` its driver, which is built in or not at all, as are ``built_in``.
    ``drivers`` are those of the network: modules' names, and symbols. ``triplet`` is Debian's multiarch
    name, by which its libraries' folder, its cross compiler and that one's binutils go. Memory comes in steps
    of ``memory_step_mib``.
    """

    architecture: Architecture
    triplet: str
    qemu: str
    package: str
    machine: str
    cpu: str
    network: str
    console: str
    console_symbol: str
    drivers: Mapping[str, str]
    built_in: tuple[str, ...] = ()
    memory_step_mib: int = 1

    @property
    def name(self) -> str:
        """The architecture's name, as --arch and run.json have it."""
        return self.architecture.name


def architecture_of(name: str) -> Architecture:
    """Return the architecture of that name."""
    return next(one for one in ARCHITECTURES if one.name == name)
