# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""x86_64: QEMU's q35."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kbtf_ci.model.machines.machine import MachineType, architecture_of

# Emulated RDRAND fills the random pool at boot. Measured: SSH answers 0.2 s after init with it, 2 s without
# (qemu64, Nehalem). Emulated SHA instructions are what the probe hashes with. Left out is what makes a kernel
# choose ways that are slow when emulated: string instructions byte by byte (erms, fsrm), page tables of a
# fifth level, and a flag to set and clear around every access to user memory (smap).
CPU: Final = "max,-erms,-fsrm,-la57,-smap"

MACHINE: Final = MachineType(
    architecture=architecture_of("x86_64"),
    triplet="x86_64-linux-gnu",
    qemu="qemu-system-x86_64",
    package="qemu-system-x86",
    machine="q35",
    cpu=CPU,
    # romfile=: no boot ROM to search, the kernel comes by -kernel.
    network="virtio-net-pci,netdev=net,romfile=",
    console="ttyS0",
    console_symbol="CONFIG_SERIAL_8250_CONSOLE",
    drivers=MappingProxyType({"virtio_pci": "CONFIG_VIRTIO_PCI", "virtio_net": "CONFIG_VIRTIO_NET"}),
)
