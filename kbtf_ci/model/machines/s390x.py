# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""s390x: QEMU's channel machine. Its console is the service processor's, its devices hang on virtio-ccw."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from kbtf_ci.model.machines.machine import MachineType, architecture_of

MACHINE: Final = MachineType(
    architecture=architecture_of("s390x"),
    triplet="s390x-linux-gnu",
    qemu="qemu-system-s390x",
    package="qemu-system-s390x",
    machine="s390-ccw-virtio",
    cpu="max",
    network="virtio-net-ccw,netdev=net",
    console="ttysclp0",
    console_symbol="CONFIG_SCLP_VT220_CONSOLE",
    drivers=MappingProxyType({"virtio_net": "CONFIG_VIRTIO_NET"}),
    # Of drivers/s390/virtio/virtio_ccw.c, which is in no list of modules.
    built_in=("CONFIG_S390_GUEST",),
)
