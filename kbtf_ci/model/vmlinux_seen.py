# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What became of vmlinux's own BTF: of the image's in the memory of the kernel that booted from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class VmlinuxSeen:
    """Digests of the image's ``.BTF`` and of ``/sys/kernel/btf/vmlinux``, "" where there is no such file.

    ``difference`` says where they differ first, "" where they are equal.
    """

    btf_sha256: str
    sysfs_sha256: str
    difference: str = ""

    @classmethod
    def of(cls, image: bytes, sysfs: bytes, difference: str) -> VmlinuxSeen:
        """Return what was seen; ``sysfs`` b"" for no file."""
        there = hashlib.sha256(sysfs).hexdigest() if sysfs else ""
        words = difference if sysfs else "there is no /sys/kernel/btf/vmlinux"
        return cls(hashlib.sha256(image).hexdigest(), there, words)

    @property
    def headline(self) -> str:
        """What is wrong, in a line; "" where nothing is."""
        if not self.difference:
            return ""
        return f"the kernel has another BTF of vmlinux in memory than its image: {self.difference}"
