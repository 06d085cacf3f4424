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
from kbtf_ci.objfile.compression import format_of
from kbtf_ci.objfile.files import open_kernel

_HEAD: Final = 128 << 10  # bytes, in which every architecture's header ends


def read_release(image: Path) -> str:
    """Return the release of the kernel in a boot image: of x86 by its header, of others unpacked.

    Raises UsageError, naming the file, when it cannot be read, is no kernel, or does not say its release.
    """
    head = _head(image)
    architecture = image_architecture(head)
    if architecture in (X86_64, I386) or (architecture is None and format_of(head) is None):
        return boot_image.read_release(image)
    release = open_kernel(image).file.release
    if not release or "/" in release:
        raise UsageError(f"{image}: a kernel that does not say its release")
    return release


def read_architecture(image: Path) -> Architecture | None:
    """Return what a boot image is for, None where it does not say. Raises UsageError as read_release()."""
    return image_architecture(_head(image)) or open_kernel(image).file.architecture


def _head(image: Path) -> bytes:
    try:
        with image.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise file_error(error, image, "cannot be read") from error
