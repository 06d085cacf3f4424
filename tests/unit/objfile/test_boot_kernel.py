# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Boot images of any architecture: whose kernel it is, and what of it is started without firmware."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.model.architecture import ARCHITECTURES, IMAGE_MARKS
from kbtf_ci.objfile.boot_kernel import read_architecture, read_release, read_unwrapped
from tests.support import images, pair

RELEASE = "6.12.107+deb13-amd64"  # what images.BANNER says
ARM64 = images.flat(
    pair.vmlinux("<").bytes(), mark=next((at, magic) for at, magic, one in IMAGE_MARKS if one.name == "arm64")
)
X86 = next(one for one in ARCHITECTURES if one.name == "x86_64")
BZIMAGE = images.bzimage(
    images.PACKERS["zstd"](images.vmlinux(pair.vmlinux("<").bytes(), bits=64, machine=X86.machine))
)


def uki(kernel: bytes, machine: int) -> bytes:
    return images.pe({".osrel": b"ID=x", ".linux": kernel}, machine)


@pytest.mark.parametrize(
    ("image", "inside", "name"),
    [
        (uki(BZIMAGE, 0x8664), BZIMAGE, "x86_64"),
        (uki(ARM64, 0xAA64), ARM64, "arm64"),
        (uki(images.zboot(gzip.compress(ARM64)), 0xAA64), ARM64, "arm64"),
        (images.zboot(images.PACKERS["zstd"](ARM64)), ARM64, "arm64"),
        (gzip.compress(ARM64), ARM64, "arm64"),
    ],
    ids=["unified", "unified arm64", "unified zboot", "zboot", "packed"],
)
def test_what_firmware_would_unpack_is_unpacked(
    tmp_path: Path, image: bytes, inside: bytes, name: str
) -> None:
    path = tmp_path / "linux.efi"
    path.write_bytes(image)
    assert read_release(path) == RELEASE
    told = read_architecture(path)
    assert told is not None
    assert told.name == name
    assert read_unwrapped(path) == inside


@pytest.mark.parametrize("image", [BZIMAGE, ARM64], ids=["bzImage", "Image"])
def test_what_starts_itself_stays_as_it_is(tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(image)
    assert read_unwrapped(path) is None


def test_a_unified_image_that_was_cut_short_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "cut.efi"
    path.write_bytes(uki(BZIMAGE, 0x8664)[:-1000])
    with pytest.raises(UsageError, match=r"cut\.efi: cut short"):
        read_release(path)
