# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels that others built, as they come: images, folders, packages."""

from __future__ import annotations

import gzip
import lzma
import re
import shutil
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.installed import running
from kbtf_ci.kernel.laid_out import Prebuilt, modules_folder
from kbtf_ci.kernel.prebuilt import find
from kbtf_ci.objfile.boot_image import read_release
from kbtf_ci.objfile.inventory import module_files
from tests.conftest import unavailable
from tests.support.packages import RELEASE, boot_image, cpio, deb, link, tarball
from tests.unit.kernel.conftest import Look

BUILTIN = b"kernel/drivers/virtio/virtio-ring.ko\nkernel/fs/ext4/ext4.ko\n"
OTHER = "6.1.0-other"


def tree(
    root: Path,
    release: str = RELEASE,
    *,
    image: str | None = "boot/vmlinuz-{}",
    config: str | None = "boot/config-{}",
    below: str = "lib/modules",
) -> Path:
    """Lay a kernel out below ``root``; its release is put where ``{}`` stands."""
    modules = root / below / release
    files = {
        modules / "kernel/fs/a.ko.xz": b"",
        modules / "kernel/net/b-c.ko": b"",
        modules / "modules.builtin": BUILTIN,
    }
    if image:
        files[root / image.format(release)] = boot_image(release)
    if config:
        files[root / config.format(release)] = b"CONFIG_X=y\n"
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return modules


Content = bytes | Mapping[str, bytes | tarfile.TarInfo]


class Packages(Protocol):
    """Writes packages: their names, without the suffix, and what is in them."""

    def __call__(self, **contents: Content) -> list[Path]: ...


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    shutil.which("dpkg-deb") or unavailable("dpkg-deb", "no package is unpacked: there is no dpkg-deb")

    def packages(**contents: Content) -> list[Path]:
        paths = []
        for name, members in contents.items():
            paths.append(tmp_path / f"{name}.deb")
            paths[-1].write_bytes(members if isinstance(members, bytes) else deb(members))
        return paths

    return packages


# ---- the boot header


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "image"
    path.write_bytes(data)
    return path


def test_the_release_is_the_first_word_of_the_headers_version(tmp_path: Path) -> None:
    image = written(tmp_path, boot_image("6.12.107+deb13-amd64") + b"payload")
    assert read_release(image) == "6.12.107+deb13-amd64"


def elf(machine: int, order: Literal["little", "big"] = "little") -> bytes:
    ident = b"\x7fELF\x02" + (b"\x01" if order == "little" else b"\x02") + bytes(12)
    return ident + machine.to_bytes(2, order) + bytes(64)


def pe(machine: int) -> bytes:
    image = bytearray(0x100)
    image[:2], image[0x3C], image[0x80:0x84] = b"MZ", 0x80, b"PE\0\0"
    image[0x84:0x86] = machine.to_bytes(2, "little")
    return bytes(image)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a kernel that x86_64 boots"),
        (b"MZ", "not a kernel that x86_64 boots"),
        (boot_image()[:0x204], "not a kernel that x86_64 boots"),
        (pe(0x8664), "not a kernel that x86_64 boots"),
        (pe(0xAA64), "a kernel for arm64, not x86_64"),
        (bytes(0x38) + b"ARM\x64", "a kernel for arm64, not x86_64"),
        (bytes(0x38) + b"RSC\x05", "a kernel for riscv64, not x86_64"),
        (elf(22, "big"), "a kernel for s390x, not x86_64"),
        (elf(21), "a kernel for ppc64le, not x86_64"),
        (elf(62), "an ELF file, a vmlinux perhaps"),
        (boot_image(xloadflags=0), "a kernel for 32-bit x86"),
        (boot_image(protocol=0x20B), "a kernel for 32-bit x86"),
        (boot_image(version_at=0), "names no release"),
        (boot_image(text=b"../../etc\0"), "names no release"),
        (boot_image(text=b"6.1/../x\0"), "names no release"),
        (boot_image(text=b"6.1\x1b[2J\0"), "names no release"),
        (boot_image()[:0x240], "names no release"),
    ],
)
def test_what_x86_64_does_not_boot_is_named_for_what_it_is(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_release(written(tmp_path, data))
    assert str(tmp_path / "image") in caught.value.message
    assert caught.value.hint


def test_no_bytes_make_the_header_reader_fail_otherwise(tmp_path: Path) -> None:
    whole = boot_image()
    cut = [whole[:size] for size in range(0, 0x260, 7)]
    flipped = [whole[:at] + b"\xff" + whole[at + 1 :] for at in range(0x1F0, 0x240)]
    releases = set()
    for data in [*cut, *flipped]:
        with suppress(UsageError):
            releases.add(read_release(written(tmp_path, data)))
    assert releases == {RELEASE}


# ---- an image and its modules


def test_an_image_comes_with_a_folder_of_modules(look: Look, tmp_path: Path) -> None:
    modules = tree(tmp_path / "root")
    image = tmp_path / "root/boot" / f"vmlinuz-{RELEASE}"
    found = look(image, modules=modules)
    assert (found.release, found.image, found.modules) == (RELEASE, image, modules)
    assert found.config == tmp_path / "root/boot" / f"config-{RELEASE}"
    assert found.builtin == {"virtio_ring", "ext4"}
    assert found.origin == str(image)


@pytest.mark.parametrize("above", ["", "lib/modules", f"lib/modules/{RELEASE}"])
def test_the_modules_are_found_below_a_folder_that_holds_them(tmp_path: Path, above: str) -> None:
    modules = tree(tmp_path)
    assert modules_folder(tmp_path / above, RELEASE) == modules


def test_a_folder_of_modules_may_go_by_any_name(tmp_path: Path) -> None:
    tree(tmp_path).rename(tmp_path / "mine")
    assert modules_folder(tmp_path / "mine", RELEASE) == tmp_path / "mine"


@pytest.mark.parametrize("above", ["", "lib/modules", f"lib/modules/{OTHER}"])
def test_modules_of_another_release_are_refused_with_both_names(tmp_path: Path, above: str) -> None:
    tree(tmp_path, OTHER)
    with pytest.raises(UsageError, match=rf"modules of {re.escape(OTHER)}, but the kernel is {RELEASE}"):
        modules_folder(tmp_path / above, RELEASE)


def test_of_several_releases_the_kernels_own_is_taken(tmp_path: Path) -> None:
    modules = tree(tmp_path)
    tree(tmp_path, OTHER)
    assert modules_folder(tmp_path, RELEASE) == modules


def test_a_folder_without_modules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/a.ko.debug").touch()
    with pytest.raises(UsageError, match="no modules in it"):
        modules_folder(tmp_path, RELEASE)


def test_an_image_alone_is_asked_for_its_modules(look: Look, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"where are the modules of {RELEASE}") as caught:
        look(written(tmp_path, boot_image()))
    assert f"--modules /lib/modules/{RELEASE}" in caught.value.hint


def test_without_a_config_or_a_list_of_what_is_built_in_neither_is_made_up(
    look: Look, tmp_path: Path
) -> None:
    modules = tree(tmp_path, config=None)
    (modules / "modules.builtin").unlink()
    found = look(tmp_path)
    assert (found.config, found.builtin) == (None, frozenset())


# ---- folders


@pytest.mark.parametrize(
    ("image", "config", "below"),
    [
        ("boot/vmlinuz-{}", "boot/config-{}", "lib/modules"),
        ("lib/modules/{}/vmlinuz", "lib/modules/{}/config", "lib/modules"),
        ("usr/lib/modules/{}/vmlinuz.unsigned", "usr/lib/modules/{}/config", "usr/lib/modules"),
        ("bzImage", "config", "lib/modules"),
        ("vmlinuz", "config-{}", "lib/modules"),
        ("Image", ".config", "lib/modules"),
    ],
)
def test_a_folder_is_searched_where_kernels_are_installed(
    look: Look, tmp_path: Path, image: str, config: str, below: str
) -> None:
    modules = tree(tmp_path, image=image, config=config, below=below)
    found = look(tmp_path)
    assert (found.image, found.modules) == (tmp_path / image.format(RELEASE), modules)
    assert found.config == tmp_path / config.format(RELEASE)


def test_the_same_kernel_twice_is_one_and_two_kernels_are_refused_by_name(look: Look, tmp_path: Path) -> None:
    modules = tree(tmp_path)
    (modules / "vmlinuz").write_bytes(boot_image())
    assert look(tmp_path).release == RELEASE
    tree(tmp_path, OTHER)
    with pytest.raises(UsageError, match=rf"2 kernels in it: {re.escape(OTHER)}, {RELEASE}"):
        look(tmp_path)


def test_a_folder_without_a_kernel_or_without_modules_says_which(look: Look, tmp_path: Path) -> None:
    tree(tmp_path / "modules", image=None)
    with pytest.raises(UsageError, match="no kernel image in it"):
        look(tmp_path / "modules")
    (tmp_path / "image").mkdir()
    (tmp_path / "image/bzImage").write_bytes(boot_image())
    with pytest.raises(UsageError, match=f"has a kernel, {RELEASE}, but no modules"):
        look(tmp_path / "image")


def test_the_modules_of_tuxmake_are_in_an_archive_beside_the_image(look: Look, tmp_path: Path) -> None:
    build = tmp_path / "build"
    build.mkdir()
    (build / "bzImage").write_bytes(boot_image())
    (build / "config").write_bytes(b"CONFIG_X=y\n")
    members: dict[str, bytes | tarfile.TarInfo] = {
        f"lib/modules/{RELEASE}/kernel/a.ko": b"x",
        f"lib/modules/{RELEASE}/build": link("/somewhere"),
    }
    (build / "modules.tar.xz").write_bytes(lzma.compress(tarball(members)))
    found = look(build)
    assert [path.name for path in found.modules.iterdir()] == ["kernel"]
    assert (found.modules.name, found.config) == (RELEASE, build / "config")


@pytest.mark.parametrize("word", ["nowhere", "/dev/null"])
def test_what_is_not_there_is_named(look: Look, word: str) -> None:
    with pytest.raises(UsageError, match=f"--kernel {word}"):
        look(word)


# ---- the running system


def test_the_running_kernel_is_found_by_its_release(tmp_path: Path) -> None:
    modules = tree(tmp_path)
    found = running(tmp_path, RELEASE, None)
    assert (found.modules, found.origin) == (modules, "running")
    with pytest.raises(UsageError, match=rf"no image of {re.escape(OTHER)} here"):
        running(tmp_path, OTHER, None)


def test_a_system_of_nixos_is_a_tree_of_links(look: Look, tmp_path: Path) -> None:
    store, system = tmp_path / "store", tmp_path / "system"
    modules = tree(store / "modules", image=None, config=None)
    (store / "linux").mkdir()
    (store / "linux/bzImage").write_bytes(boot_image())
    farm = system / "kernel-modules/lib/modules" / RELEASE
    farm.mkdir(parents=True)
    (farm / "kernel").symlink_to(modules / "kernel")
    (farm / "again").symlink_to(modules / "kernel")
    (farm / "build").symlink_to(store)
    (farm / "up").symlink_to(farm.parent)
    (system / "kernel").symlink_to(store / "linux/bzImage")
    found = look(system)
    assert (found.release, found.modules) == (RELEASE, farm)
    assert len(module_files(found.modules)) == 2


# ---- a system below another root


def rooted(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    tree(root, below="usr/lib/modules")
    (root / "lib").symlink_to("/usr/lib")
    return root


def in_root_of(tmp_path: Path, root: Path, modules: Path | None = None) -> Prebuilt:
    return find([], modules, tmp_path / "scratch", None, root=root)


def test_the_kernel_of_a_root_is_found_by_links_as_they_lead_there(tmp_path: Path) -> None:
    root = rooted(tmp_path)
    image = root / f"boot/vmlinuz-{RELEASE}"
    image.rename(root / f"usr/lib/modules/{RELEASE}/vmlinuz")
    image.symlink_to(f"/usr/lib/modules/{RELEASE}/vmlinuz")
    found = in_root_of(tmp_path, root)
    assert found.image == root / f"usr/lib/modules/{RELEASE}/vmlinuz"
    assert (found.release, found.modules.name, found.origin) == (RELEASE, RELEASE, str(root))
    assert found.config == root / f"boot/config-{RELEASE}"


def test_a_module_that_leads_out_of_its_root_is_refused(tmp_path: Path) -> None:
    root = rooted(tmp_path)
    (root / f"usr/lib/modules/{RELEASE}/kernel/x.ko").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match=r"x\.ko leads out of it, to /etc/passwd"):
        in_root_of(tmp_path, root)


def test_a_root_with_no_kernel_or_several_or_no_modules_says_so(tmp_path: Path) -> None:
    root = rooted(tmp_path)
    tree(root, OTHER, below="usr/lib/modules")
    with pytest.raises(UsageError, match=rf"2 kernels in it: {re.escape(OTHER)}, {RELEASE}"):
        in_root_of(tmp_path, root)
    shutil.rmtree(root / "boot")
    with pytest.raises(UsageError, match=r"no kernels in it$"):
        in_root_of(tmp_path, root)
    (root / "boot").mkdir()
    (root / f"boot/vmlinuz-{RELEASE}").write_bytes(boot_image())
    shutil.rmtree(root / "usr/lib/modules" / RELEASE)
    with pytest.raises(UsageError, match=f"has a kernel, {RELEASE}, but no modules"):
        in_root_of(tmp_path, root)


# ---- an initramfs in the place of the modules


def initramfs(tmp_path: Path, release: str = RELEASE) -> Path:
    path = tmp_path / "initrd.img"
    members = {f"usr/lib/modules/{release}/kernel/a.ko": b"a"} if release else {"init": b""}
    path.write_bytes(cpio({"kernel/x86/microcode/x.bin": b"x"}) + bytes(512) + gzip.compress(cpio(members)))
    return path


def test_the_modules_of_an_initramfs_are_the_kernels(look: Look, tmp_path: Path) -> None:
    image = written(tmp_path, boot_image())
    scratch = tmp_path / "scratch"
    found = find([str(image)], None, scratch, None, initramfs=initramfs(tmp_path))
    assert [path.name for path in found.modules.rglob("*.ko")] == ["a.ko"]
    assert found.initramfs
    assert found.initramfs.others is None
    modules = tree(tmp_path / "tree")
    found = find([str(image)], modules, scratch, None, initramfs=initramfs(tmp_path))
    assert found.initramfs
    assert (found.modules.name, found.initramfs.others) == (RELEASE, modules)
    assert "ext4" in found.builtin  # it has no modules.builtin of its own
    found = find([], None, scratch, None, initramfs=initramfs(tmp_path), root=tmp_path / "tree")
    assert found.initramfs
    assert found.initramfs.others == modules


def test_an_initramfs_of_another_kernel_or_of_none_is_named(tmp_path: Path) -> None:
    image = written(tmp_path, boot_image())
    for release, words in (
        (OTHER, f"modules of {OTHER}, but the kernel is {RELEASE}"),
        ("", "no modules in"),
    ):
        path = initramfs(tmp_path, release)
        with pytest.raises(UsageError, match=rf"--initramfs {re.escape(str(path))}: {re.escape(words)}"):
            find([str(image)], None, tmp_path / "scratch", None, initramfs=path)


def test_an_initramfs_in_the_place_of_a_kernel_says_what_takes_one(look: Look, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"initrd\.img: a cpio archive") as caught:
        look(initramfs(tmp_path))
    assert "--initramfs" in caught.value.hint
