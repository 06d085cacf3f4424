# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whose kernel a boot image of any architecture is: its release, and what it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.model.architecture import I386, X86_64, Architecture
from kbtf_ci.objfile import boot_image
from kbtf_ci.objfile.boot_image import image_architecture
from kbtf_ci.objfile.compression import Buffer, format_of, load
from kbtf_ci.objfile.files import KERNEL_LIMIT, open_kernel
from kbtf_ci.objfile.kernel_image import unwrapped

_HEAD: Final = 128 << 10  # bytes, in which every architecture's header ends


def read_release(image: Path) -> str:
    """Return the release of the kernel in a boot image: by x86's boot header, else of what is inside.

    Raises UsageError, naming the file, when it cannot be read, is no kernel, or does not say its release.
    """
    head = _head(image)
    if boot_image.has_x86_header(head) or not _is_other_image(head):
        return boot_image.read_release(image)
    release = open_kernel(image).file.release
    if not release or "/" in release:
        raise UsageError(f"{image}: a kernel that does not say its release")
    return release


def _is_other_image(head: bytes) -> bool:
    """Whether a file may be a boot image, by its first bytes; an ELF file of x86 is not."""
    if head[:4] == b"\x7fELF":
        return image_architecture(head) not in (X86_64, I386, None)
    return image_architecture(head) is not None or format_of(head) is not None


def read_unwrapped(image: Path) -> Buffer | None:
    """Return what is to be started of a boot image that only firmware starts, or that is packed as a whole.

    None where it is the file as it is. Raises UsageError as read_release().
    """
    data = load(image, KERNEL_LIMIT)
    inside = unwrapped(data, str(image), KERNEL_LIMIT)
    return inside if inside is not data or format_of(_head(image)) else None


def read_architecture(image: Path) -> Architecture | None:
    """Return what a boot image is for, None where it does not say. Raises UsageError as read_release()."""
    return image_architecture(_head(image)) or open_kernel(image).file.architecture


def _head(image: Path) -> bytes:
    try:
        with image.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise file_error(error, image, "cannot be read") from error
