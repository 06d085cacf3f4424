# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel that boots with other BTF than its own: put into its image, where that lies in it unpacked."""

from __future__ import annotations

from dataclasses import dataclass

from kbtf_ci.errors import UsageError
from kbtf_ci.model.architecture import X86_64
from kbtf_ci.objfile.compression import Buffer, load
from kbtf_ci.objfile.files import KERNEL_LIMIT, OpenKernel, boots_by_pvh


@dataclass(frozen=True)
class BtfInImage:
    """What QEMU boots as it is, and where in it vmlinux's BTF lies, in bytes."""

    image: Buffer
    offset: int
    size: int

    def with_other(self, btf: bytes) -> bytes:
        """Return the image with other BTF of the same size. Raises UsageError where it is of another."""
        if len(btf) != self.size:
            raise UsageError(f"{len(btf):,} bytes of BTF in the place of {self.size:,}")
        return b"".join((self.image[: self.offset], btf, self.image[self.offset + self.size :]))


def btf_in_image(opened: OpenKernel) -> BtfInImage | None:
    """Return the BTF in an image that boots as it is, None where it unpacks itself.

    That is x86's vmlinux with an entry for PVH, another architecture's vmlinux, where that is its image, and
    a flat image. Raises UsageError as load().
    """
    vmlinux, file = opened.vmlinux, opened.file
    if vmlinux is not None and _starts(opened):
        section = vmlinux.find(".BTF")
        return BtfInImage(vmlinux.data, section.offset, section.size) if section else None
    if vmlinux is not None:
        return None
    data = load(file.path, KERNEL_LIMIT)
    at = data.find(file.btf)
    return None if at < 0 else BtfInImage(data, at, len(file.btf))


def _starts(opened: OpenKernel) -> bool:
    """Whether QEMU starts the ELF file itself."""
    if opened.vmlinux is None:
        return False
    if opened.file.architecture == X86_64:
        return boots_by_pvh(opened.vmlinux)
    return opened.file.kind == "vmlinux"
