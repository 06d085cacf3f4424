# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels of other architectures: found by what their images say, and refused where nothing boots them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.laid_out import Prebuilt
from kbtf_ci.kernel.prebuilt import find
from kbtf_ci.kernel.runs_on import machine_for
from kbtf_ci.model.architecture import ARCHITECTURES, IMAGE_MARKS, Architecture
from kbtf_ci.model.machines.table import MACHINES
from tests.support import images, pair
from tests.support.packages import boot_image

RELEASE = "6.12.107+deb13-amd64"  # what images.BANNER says
BY_NAME = {one.name: one for one in ARCHITECTURES}
MARKS = {one.name: (at, magic) for at, magic, one in IMAGE_MARKS}
OTHERS = [one for one in ARCHITECTURES if one.name not in {machine.name for machine in MACHINES}]


def module(arch: Architecture) -> bytes:
    return images.module(bits=arch.bits, order=arch.order, machine=arch.machine)


def vmlinux(arch: Architecture) -> bytes:
    btf = pair.vmlinux(arch.order).bytes()
    return images.vmlinux(btf, bits=arch.bits, order=arch.order, machine=arch.machine)


def laid_out(
    folder: Path, image: bytes, arch: Architecture, *, modules: Architecture | None = None
) -> Prebuilt:
    """Lay a kernel and its modules out as a distribution does, and find it."""
    tree = folder / "lib/modules" / RELEASE
    tree.mkdir(parents=True)
    (tree / "m.ko").write_bytes(module(modules or arch))
    (folder / "boot").mkdir()
    (folder / f"boot/vmlinuz-{RELEASE}").write_bytes(image)
    return find([str(folder)], None, folder / "scratch", None)


def flat(arch: Architecture) -> bytes:
    return images.flat(pair.vmlinux(arch.order).bytes(), mark=MARKS[arch.name])


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("arm64", flat(BY_NAME["arm64"])),
        ("arm64", gzip.compress(flat(BY_NAME["arm64"]))),
        ("arm64", images.zboot(gzip.compress(flat(BY_NAME["arm64"])))),
        ("riscv64", flat(BY_NAME["riscv64"])),
        ("s390x", flat(BY_NAME["s390x"])),
        ("ppc64le", vmlinux(BY_NAME["ppc64le"])),
    ],
    ids=["arm64", "arm64 packed", "arm64 zboot", "riscv64", "s390x", "ppc64le"],
)
def test_the_image_says_release_and_machine(tmp_path: Path, name: str, image: bytes) -> None:
    found = laid_out(tmp_path, image, BY_NAME[name])
    assert (found.release, machine_for(found).name) == (RELEASE, name)
    assert machine_for(found, name).name == name


def test_x86_64_is_told_by_its_boot_header_as_ever(tmp_path: Path) -> None:
    found = laid_out(tmp_path, boot_image(RELEASE), BY_NAME["x86_64"])
    assert (found.release, machine_for(found).name) == (RELEASE, "x86_64")


def test_an_image_that_is_not_packed_by_name_is_found_too(tmp_path: Path) -> None:
    laid_out(tmp_path, vmlinux(BY_NAME["ppc64le"]), BY_NAME["ppc64le"])
    (tmp_path / f"boot/vmlinuz-{RELEASE}").rename(tmp_path / f"boot/vmlinux-{RELEASE}")
    assert find([str(tmp_path)], None, tmp_path / "scratch", None).release == RELEASE


# An ELF file of i386 is no boot image, and refused as such.
@pytest.mark.parametrize("arch", [one for one in OTHERS if one.name != "i386"], ids=lambda one: one.name)
def test_what_no_guest_runs_on_is_named_with_what_there_is(tmp_path: Path, arch: Architecture) -> None:
    found = laid_out(tmp_path, vmlinux(arch), arch)
    with pytest.raises(
        UsageError, match=f"a kernel for {arch.name}, which no guest of ours runs on"
    ) as caught:
        machine_for(found)
    assert all(machine.name in caught.value.hint for machine in MACHINES)


def test_another_architecture_than_the_images_is_no_wish_that_can_be_had(tmp_path: Path) -> None:
    found = laid_out(tmp_path, flat(BY_NAME["arm64"]), BY_NAME["arm64"])
    with pytest.raises(UsageError, match=r"vmlinuz-.*: a kernel for arm64, and --arch says s390x"):
        machine_for(found, "s390x")


def test_an_image_that_does_not_say_is_what_the_user_says(tmp_path: Path) -> None:
    image = gzip.compress(images.flat(pair.vmlinux("<").bytes()))
    found = laid_out(tmp_path, image, BY_NAME["riscv64"])
    with pytest.raises(UsageError, match="does not say which architecture it is for") as caught:
        machine_for(found)
    assert "--arch" in caught.value.hint
    assert machine_for(found, "riscv64").name == "riscv64"


@pytest.mark.parametrize("other", ["x86_64", "riscv64", "ppc64"])
def test_modules_of_another_architecture_are_refused_by_one_of_them(tmp_path: Path, other: str) -> None:
    found = laid_out(tmp_path, flat(BY_NAME["arm64"]), BY_NAME["arm64"], modules=BY_NAME[other])
    with pytest.raises(UsageError, match=rf"m\.ko: a module for {other}, and the kernel .* is for arm64"):
        machine_for(found)


def test_a_module_that_cannot_be_read_says_nothing_of_the_others(tmp_path: Path) -> None:
    found = laid_out(tmp_path, flat(BY_NAME["arm64"]), BY_NAME["arm64"])
    (found.modules / "a.ko").write_bytes(b"no ELF")
    assert machine_for(found).name == "arm64"
