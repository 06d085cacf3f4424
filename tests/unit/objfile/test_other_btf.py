# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.model.architecture import ARCHITECTURES, IMAGE_MARKS
from kbtf_ci.objfile.files import open_kernel, parse_kernel
from kbtf_ci.objfile.other_btf import btf_in_image
from tests.support import images, pair

BTF = pair.vmlinux("<").bytes()
OTHER = BTF[:40] + b"\x07" + BTF[41:]
MARK = next((at, magic) for at, magic, one in IMAGE_MARKS if one.name == "arm64")
MACHINES = {one.name: one.machine for one in ARCHITECTURES}


def vmlinux(name: str) -> bytes:
    return images.vmlinux(BTF, bits=64, machine=MACHINES[name])


@pytest.mark.parametrize("image", [images.flat(BTF, mark=MARK), vmlinux("ppc64le")], ids=["Image", "vmlinux"])
def test_an_image_gets_other_btf_and_nothing_else(tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(image)
    found = btf_in_image(open_kernel(path))
    assert found is not None
    altered = found.with_other(OTHER)
    assert parse_kernel(altered, path).btf == OTHER
    assert altered.replace(OTHER, BTF) == image
    with pytest.raises(UsageError, match="in the place of"):
        found.with_other(OTHER[:-1])


@pytest.mark.parametrize(
    "image",
    [
        vmlinux("x86_64"),  # without an entry for PVH
        images.bzimage(gzip.compress(vmlinux("x86_64"))),
        bytes(500) + gzip.compress(images.flat(BTF)),
    ],
    ids=["vmlinux of x86_64", "bzImage", "flat, packed"],
)
def test_what_unpacks_itself_gets_none(tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(image)
    assert btf_in_image(open_kernel(path)) is None
