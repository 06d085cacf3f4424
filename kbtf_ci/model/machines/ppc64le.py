# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""ppc64le: QEMU's pseries, with a hypervisor's console."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kbtf_ci.model.machines.machine import MachineType, architecture_of

MACHINE: Final = MachineType(
    architecture=architecture_of("ppc64le"),
    triplet="powerpc64le-linux-gnu",
    qemu="qemu-system-ppc64",
    package="qemu-system-ppc",
    # What shields against speculation is nothing that emulation could have, and QEMU warns of each.
    machine="pseries,cap-ccf-assist=off,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken",
    cpu="power9",
    network="virtio-net-pci,netdev=net,romfile=",
    console="hvc0",
    console_symbol="CONFIG_HVC_CONSOLE",
    drivers=MappingProxyType({"virtio_pci": "CONFIG_VIRTIO_PCI", "virtio_net": "CONFIG_VIRTIO_NET"}),
    # Without the trampoline the machine's firmware (SLOF) cannot start it.
    built_in=("CONFIG_PPC_OF_BOOT_TRAMPOLINE", "CONFIG_PPC_PSERIES"),
    memory_step_mib=256,
)
