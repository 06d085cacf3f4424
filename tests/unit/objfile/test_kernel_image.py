# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import random

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.objfile.compression import LZO
from kbtf_ci.objfile.kernel_image import kernel_in
from tests.support import pair
from tests.support.images import PACKERS, bzimage, flat, module, pe, vmlinux, zboot

KERNEL = vmlinux(pad=random.Random(5).randbytes(3000) * 20)
ARM64 = (0x38, b"ARM\x64")
BTF = pair.vmlinux().bytes()
EVERY = pytest.mark.parametrize("kind", PACKERS)


@EVERY
@pytest.mark.parametrize("setup_sects", [0, 4, 39])
def test_the_boot_header_leads_to_the_kernel(kind: str, setup_sects: int) -> None:
    size = len(KERNEL).to_bytes(4, "little")  # as kbuild's *_with_size rules append it
    image = bzimage(PACKERS[kind](KERNEL) + size, setup_sects=setup_sects)
    assert kernel_in(image, "bzImage", 1 << 20) == KERNEL


@pytest.mark.parametrize("setup_sects", [0, 4, 39])
def test_the_boot_header_is_believed_before_any_magic(setup_sects: int) -> None:
    decoy = PACKERS["gzip"](vmlinux(b"another"))
    image = bytearray(bzimage(PACKERS["zstd"](KERNEL), setup_sects=setup_sects))
    image[0x400 : 0x400 + len(decoy)] = decoy
    assert kernel_in(bytes(image), "bzImage", 1 << 20) == KERNEL


def test_an_uncompressed_payload_is_the_kernel() -> None:
    assert kernel_in(bzimage(KERNEL), "bzImage", 1 << 20) == KERNEL


@EVERY
def test_without_a_boot_header_the_kernel_is_found_by_magic(kind: str) -> None:
    rng = random.Random(6)
    # False magics in front, as chance puts them into any large image.
    noise = b"BZh9 \x1f\x8b\x08\0 \x28\xb5\x2f\xfd \x02\x21\x4c\x18 \x5d\0\0\0 \xfd7zXZ\0" + rng.randbytes(
        3000
    )
    image = b"MZ" + noise + PACKERS[kind](KERNEL) + rng.randbytes(500)
    assert kernel_in(image, "vmlinuz.efi", 1 << 20) == KERNEL


def test_an_older_boot_protocol_names_no_payload_and_is_searched() -> None:
    image = bzimage(PACKERS["gzip"](KERNEL), version=0x0207, length=1 << 31)
    assert kernel_in(image, "bzImage", 1 << 20) == KERNEL


def test_packed_files_that_are_no_kernel_are_passed_by() -> None:
    image = b"MZ" + PACKERS["gzip"](b"a text") + PACKERS["xz"](module()) + PACKERS["xz"](KERNEL)
    assert kernel_in(image, "uki", 1 << 20) == KERNEL


def test_the_search_gives_up_after_some_hundred_packed_files() -> None:
    decoy = PACKERS["gzip"](b"a text")
    assert kernel_in(b"MZ" + decoy * 400 + PACKERS["gzip"](KERNEL), "uki", 1 << 20) == KERNEL
    with pytest.raises(UsageError, match="uki: not a vmlinux, a boot image or raw BTF"):
        kernel_in(b"MZ" + decoy * 501 + PACKERS["gzip"](KERNEL), "uki", 1 << 20)


def test_a_cut_image_says_so() -> None:
    image = bzimage(PACKERS["zstd"](KERNEL))
    with pytest.raises(UsageError, match=r"bzImage: cut short: its kernel should end at byte \d+ of 5000"):
        kernel_in(image[:5000], "bzImage", 1 << 20)


def test_a_broken_payload_says_so() -> None:
    packed = PACKERS["zstd"](KERNEL)
    with pytest.raises(UsageError, match=r"bzImage: cannot be unpacked as zstd"):
        kernel_in(bzimage(packed[:-9]), "bzImage", 1 << 20)


@EVERY
def test_a_payload_that_is_no_kernel_says_so(kind: str) -> None:
    with pytest.raises(UsageError, match=r"bzImage: a bzImage whose payload is no ELF vmlinux"):
        kernel_in(bzimage(PACKERS[kind](b"not a kernel")), "bzImage", 1 << 20)


@EVERY
def test_a_kernel_beyond_the_limit_is_refused(kind: str) -> None:
    for image in (bzimage(PACKERS[kind](KERNEL)), b"MZ" + PACKERS[kind](KERNEL)):
        with pytest.raises(UsageError, match=r"unpacks to more than"):
            kernel_in(image, "bzImage", len(KERNEL) - 1)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (b"", "not a vmlinux, a boot image or raw BTF"),
        (b"MZ" + bytes(5000), "not a vmlinux, a boot image or raw BTF"),
        (bytes(56) + b"ARM\x64" + bytes(5000), "a boot image for arm64 with neither a version nor BTF in it"),
        (
            bytes(56) + b"RSC\x05" + bytes(5000),
            "a boot image for riscv64 with neither a version nor BTF in it",
        ),
        (bytes(600) + LZO.magic + bytes(600), "packed with LZO, which is not supported"),
    ],
)
def test_another_image_is_refused_in_one_line_with_a_way_out(image: bytes, why: str) -> None:
    with pytest.raises(UsageError, match=rf"Image: .*{why}") as caught:
        kernel_in(image, "Image", 1 << 20)
    assert "/sys/kernel/btf/vmlinux" in caught.value.hint


def test_a_lzo_payload_is_named() -> None:
    with pytest.raises(UsageError, match="LZO is not supported"):
        kernel_in(bzimage(LZO.magic + bytes(500)), "bzImage", 1 << 20)


def test_an_image_cut_anywhere_or_full_of_magics_is_refused() -> None:
    image = bzimage(PACKERS["zstd"](vmlinux()))
    for length in range(0, len(image) - 777, 7):
        with pytest.raises(UsageError):
            kernel_in(image[:length], "bzImage", 1 << 20)
    for magics in (b"BZh9", b"\x5d\0\0\0\4", b"\x1f\x8b\x08\0", b"\x02\x21\x4c\x18", b"\x28\xb5\x2f\xfd"):
        with pytest.raises(UsageError):
            kernel_in(b"MZ" + magics * 50_000, "bzImage", 1 << 20)


@EVERY
def test_a_flat_kernel_is_found_packed_or_not(kind: str) -> None:
    """As s390's and arm's images are, packed somewhere, and arm64's, which is flat itself."""
    kernel = flat(BTF)
    stub = b"\0\x08\0\0" + random.Random(8).randbytes(9000)
    assert kernel_in(stub + PACKERS[kind](kernel) + stub, "vmlinuz", 1 << 22) == kernel
    assert kernel_in(flat(BTF, mark=ARM64), "Image", 1 << 22) == flat(BTF, mark=ARM64)


@EVERY
def test_efi_zboot_says_where_its_kernel_is(kind: str) -> None:
    decoy, kernel = PACKERS["gzip"](flat(BTF)), flat(BTF, mark=ARM64, head=5000)
    image = zboot(PACKERS[kind](kernel))
    assert kernel_in(image[:600] + decoy + image[600:], "vmlinuz.efi", 1 << 22) is not None
    assert kernel_in(image, "vmlinuz.efi", 1 << 22) == kernel
    with pytest.raises(UsageError, match=r"vmlinuz.efi: cut short: its kernel should end at byte \d+"):
        kernel_in(image[:-60], "vmlinuz.efi", 1 << 22)


@pytest.mark.parametrize("machine", [0x8664, 0xAA64])
def test_a_unified_kernel_image_is_read_from_its_linux_section(machine: int) -> None:
    other = PACKERS["gzip"](vmlinux(b"another"))
    arm64 = flat(BTF, mark=ARM64)
    for inside, kernel in (
        (bzimage(PACKERS["zstd"](KERNEL)), KERNEL),
        (arm64, arm64),
        (PACKERS["gzip"](arm64), arm64),
        (zboot(PACKERS["zstd"](arm64)), arm64),
    ):
        image = pe({".osrel": b"ID=x", ".initrd": other, ".linux": inside}, machine)
        assert kernel_in(image, "uki.efi", 1 << 22) == kernel
        with pytest.raises(UsageError, match="cut short"):
            kernel_in(image[: -len(inside) // 2], "uki.efi", 1 << 22)


def test_a_flat_kernel_without_btf_is_known_by_its_version() -> None:
    kernel = flat(b"")
    assert kernel_in(kernel, "Image", 1 << 22) == kernel
    assert kernel_in(bytes(500) + PACKERS["xz"](kernel), "zImage", 1 << 22) == kernel


def test_a_packed_kernel_that_is_cut_says_so() -> None:
    kernel = flat(BTF, head=3 << 20)
    packed = PACKERS["gzip"](kernel)
    with pytest.raises(UsageError, match="vmlinuz: cannot be unpacked as gzip: it ends in the middle"):
        kernel_in(bytes(500) + packed[:-3000], "vmlinuz", 1 << 24)
    with pytest.raises(UsageError, match="cannot be unpacked as gzip: it unpacks to more than 2 MiB"):
        kernel_in(bytes(500) + packed, "vmlinuz", 1 << 21)


def test_bombs_are_unpacked_to_the_limit_once_in_all() -> None:
    """Else this takes minutes: 25 GiB lie packed in there."""
    bomb = PACKERS["zstd"](bytes(1 << 26))
    with pytest.raises(UsageError, match="not a vmlinux"):
        kernel_in(b"MZ" + bomb * 400, "vmlinuz", 1 << 26)


def test_an_efi_executable_with_odd_headers_is_none() -> None:
    whole = pe({".linux": b"x" * 600})
    for length in range(0, len(whole), 3):
        with pytest.raises(UsageError):
            kernel_in(whole[:length], "efi", 1 << 20)
    for at in range(0x3C, 0xC0):
        with pytest.raises(UsageError):
            kernel_in(whole[:at] + b"\xff" + whole[at + 1 :], "efi", 1 << 20)
