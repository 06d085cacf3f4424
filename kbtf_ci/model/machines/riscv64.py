# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""riscv64: QEMU's virt, started by the OpenSBI that comes with QEMU."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kbtf_ci.model.machines.machine import MachineType, architecture_of

MACHINE: Final = MachineType(
    architecture=architecture_of("riscv64"),
    triplet="riscv64-linux-gnu",
    qemu="qemu-system-riscv64",
    package="qemu-system-riscv",
    machine="virt",
    cpu="max",
    network="virtio-net-pci,netdev=net,romfile=",
    console="ttyS0",
    console_symbol="CONFIG_SERIAL_8250_CONSOLE",
    drivers=MappingProxyType({
        "pci_host_generic": "CONFIG_PCI_HOST_GENERIC",
        "virtio_pci": "CONFIG_VIRTIO_PCI",
        "virtio_net": "CONFIG_VIRTIO_NET",
    }),
)  # fmt: skip
