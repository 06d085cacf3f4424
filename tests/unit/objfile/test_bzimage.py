# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import random

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.bzimage import embedded_vmlinux
from kbtf_ci.objfile.compression import LZO
from tests.support.images import PACKERS, bzimage, module, vmlinux

KERNEL = vmlinux(pad=random.Random(5).randbytes(3000) * 20)
EVERY = pytest.mark.parametrize("kind", PACKERS)


@EVERY
@pytest.mark.parametrize("setup_sects", [0, 4, 39])
def test_the_boot_header_leads_to_the_kernel(kind: str, setup_sects: int) -> None:
    size = len(KERNEL).to_bytes(4, "little")  # as kbuild's *_with_size rules append it
    image = bzimage(PACKERS[kind](KERNEL) + size, setup_sects=setup_sects)
    assert embedded_vmlinux(image, "bzImage", 1 << 20) == KERNEL


@pytest.mark.parametrize("setup_sects", [0, 4, 39])
def test_the_boot_header_is_believed_before_any_magic(setup_sects: int) -> None:
    decoy = PACKERS["gzip"](vmlinux(b"another"))
    image = bytearray(bzimage(PACKERS["zstd"](KERNEL), setup_sects=setup_sects))
    image[0x400 : 0x400 + len(decoy)] = decoy
    assert embedded_vmlinux(bytes(image), "bzImage", 1 << 20) == KERNEL


def test_an_uncompressed_payload_is_the_kernel() -> None:
    assert embedded_vmlinux(bzimage(KERNEL), "bzImage", 1 << 20) == KERNEL


@EVERY
def test_without_a_boot_header_the_kernel_is_found_by_magic(kind: str) -> None:
    rng = random.Random(6)
    # False magics in front, as chance puts them into any large image.
    noise = b"BZh9 \x1f\x8b\x08\0 \x28\xb5\x2f\xfd \x02\x21\x4c\x18 \x5d\0\0\0 \xfd7zXZ\0" + rng.randbytes(
        3000
    )
    image = b"MZ" + noise + PACKERS[kind](KERNEL) + rng.randbytes(500)
    assert embedded_vmlinux(image, "vmlinuz.efi", 1 << 20) == KERNEL


def test_an_older_boot_protocol_names_no_payload_and_is_searched() -> None:
    image = bzimage(PACKERS["gzip"](KERNEL), version=0x0207, length=1 << 31)
    assert embedded_vmlinux(image, "bzImage", 1 << 20) == KERNEL


def test_packed_files_that_are_no_kernel_are_passed_by() -> None:
    image = b"MZ" + PACKERS["gzip"](b"a text") + PACKERS["xz"](module()) + PACKERS["xz"](KERNEL)
    assert embedded_vmlinux(image, "uki", 1 << 20) == KERNEL


def test_the_search_gives_up_after_some_hundred_packed_files() -> None:
    decoy = PACKERS["gzip"](b"a text")
    assert embedded_vmlinux(b"MZ" + decoy * 400 + PACKERS["gzip"](KERNEL), "uki", 1 << 20) == KERNEL
    with pytest.raises(UsageError, match="uki: not a vmlinux, a bzImage or raw BTF"):
        embedded_vmlinux(b"MZ" + decoy * 501 + PACKERS["gzip"](KERNEL), "uki", 1 << 20)


def test_a_cut_image_says_so() -> None:
    image = bzimage(PACKERS["zstd"](KERNEL))
    with pytest.raises(UsageError, match=r"bzImage: cut short: its kernel should end at byte \d+ of 5000"):
        embedded_vmlinux(image[:5000], "bzImage", 1 << 20)


def test_a_broken_payload_says_so() -> None:
    packed = PACKERS["zstd"](KERNEL)
    with pytest.raises(UsageError, match=r"bzImage: cannot be unpacked as zstd"):
        embedded_vmlinux(bzimage(packed[:-9]), "bzImage", 1 << 20)


@EVERY
def test_a_payload_that_is_no_kernel_says_so(kind: str) -> None:
    with pytest.raises(UsageError, match=r"bzImage: a bzImage whose payload is no ELF vmlinux"):
        embedded_vmlinux(bzimage(PACKERS[kind](b"not a kernel")), "bzImage", 1 << 20)


@EVERY
def test_a_kernel_beyond_the_limit_is_refused(kind: str) -> None:
    for image in (bzimage(PACKERS[kind](KERNEL)), b"MZ" + PACKERS[kind](KERNEL)):
        with pytest.raises(UsageError, match=r"unpacks to more than"):
            embedded_vmlinux(image, "bzImage", len(KERNEL) - 1)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"", "not a vmlinux, a bzImage or raw BTF"),
        (b"MZ" + bytes(5000), "not a vmlinux, a bzImage or raw BTF"),
        (bytes(56) + b"ARM\x64" + bytes(5000), "an arm64 Image, no ELF vmlinux in it"),
        (bytes(56) + b"RSC\x05" + bytes(5000), "a RISC-V Image, no ELF vmlinux in it"),
        (bytes(600) + LZO.magic + bytes(600), "packed with LZO, which is not supported"),
    ],
)
def test_another_image_is_refused_in_one_line_with_a_way_out(image: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=rf"Image: .*{why}") as caught:
        embedded_vmlinux(image, "Image", 1 << 20)
    assert "/sys/kernel/btf/vmlinux" in caught.value.hint


def test_a_lzo_payload_is_named() -> None:
    with pytest.raises(UsageError, match="LZO is not supported"):
        embedded_vmlinux(bzimage(LZO.magic + bytes(500)), "bzImage", 1 << 20)


def test_an_image_cut_anywhere_or_full_of_magics_is_refused() -> None:
    image = bzimage(PACKERS["zstd"](vmlinux()))
    for length in range(0, len(image) - 777, 7):
        with pytest.raises(UsageError):
            embedded_vmlinux(image[:length], "bzImage", 1 << 20)
    for magics in (b"BZh9", b"\x5d\0\0\0\4", b"\x1f\x8b\x08\0", b"\x02\x21\x4c\x18", b"\x28\xb5\x2f\xfd"):
        with pytest.raises(UsageError):
            embedded_vmlinux(b"MZ" + magics * 50_000, "bzImage", 1 << 20)
