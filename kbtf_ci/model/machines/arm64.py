# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""arm64: QEMU's virt, whose PCI host bridge is the generic one."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kbtf_ci.model.machines.machine import MachineType, architecture_of

MACHINE: Final = MachineType(
    architecture=architecture_of("arm64"),
    triplet="aarch64-linux-gnu",
    qemu="qemu-system-aarch64",
    package="qemu-system-arm",
    machine="virt",
    # Pointer authentication costs a cipher a function call when emulated.
    cpu="max,pauth=off",
    network="virtio-net-pci,netdev=net,romfile=",
    console="ttyAMA0",
    console_symbol="CONFIG_SERIAL_AMBA_PL011_CONSOLE",
    drivers=MappingProxyType({
        "pci_host_generic": "CONFIG_PCI_HOST_GENERIC",
        "virtio_pci": "CONFIG_VIRTIO_PCI",
        "virtio_net": "CONFIG_VIRTIO_NET",
    }),
)  # fmt: skip
