# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in packages, of every distribution's making, unpacked by libarchive or by the image's tools."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol

import pytest

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.infra.runner import Command
from kbtf_ci.kernel import packages as unpacking
from kbtf_ci.kernel.packages import unpack
from kbtf_ci.kernel.prebuilt import find
from kbtf_ci.objfile.archive.reader import has_libarchive
from tests.conftest import unavailable
from tests.support.local import LocalRunner
from tests.support.packages import (
    PACKERS,
    RELEASE,
    apk,
    boot_image,
    deb,
    link,
    pacman,
    rpm,
    special,
    tarball,
)
from tests.unit.kernel.conftest import Look

BUILTIN = b"kernel/drivers/virtio/virtio-ring.ko\nkernel/fs/ext4/ext4.ko\n"
OTHER = "6.1.0-other"
Content = Mapping[str, bytes | tarfile.TarInfo]

LIBARCHIVE = "libarchive"
TOOLS = "the image's tools"


class Packages(Protocol):
    """Writes packages: their names, without the suffix, and what is in them."""

    def __call__(self, **contents: Content | bytes) -> list[Path]: ...


@pytest.fixture
def libarchive() -> None:
    has_libarchive() or unavailable("libarchive", "this machine has no libarchive")


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.which("dpkg-deb") or unavailable("dpkg-deb", "no package is unpacked: there is no dpkg-deb")
    monkeypatch.setenv("LIBARCHIVE", "/nowhere/libarchive.so")


@pytest.fixture(params=[LIBARCHIVE, TOOLS])
def way(request: pytest.FixtureRequest) -> str:
    """Both ways in which packages are unpacked, one after the other."""
    request.getfixturevalue("libarchive" if request.param == LIBARCHIVE else "tools")
    return str(request.param)


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    def packages(**contents: Content | bytes) -> list[Path]:
        paths = []
        for name, members in contents.items():
            paths.append(tmp_path / f"{name}.deb")
            paths[-1].write_bytes(members if isinstance(members, bytes) else deb(members))
        return paths

    return packages


IMAGE = {f"./boot/vmlinuz-{RELEASE}": boot_image(), f"./boot/config-{RELEASE}": b"CONFIG_X=y\n"}
MODULES = {
    f"./usr/lib/modules/{RELEASE}/kernel/a.ko.xz": b"a",
    f"./usr/lib/modules/{RELEASE}/modules.builtin": BUILTIN,
    "./usr/share/doc/changelog": b"long",
}


def test_one_package_holds_image_modules_and_config(look: Look, packages: Packages, way: str) -> None:
    found = look(*packages(whole=IMAGE | MODULES))
    assert (found.release, found.modules.name) == (RELEASE, RELEASE)
    assert found.builtin == {"virtio_ring", "ext4"}
    assert found.config
    assert found.config.read_bytes() == b"CONFIG_X=y\n"
    assert not list(found.modules.parents[2].rglob("changelog"))


def test_several_packages_are_one_kernel(look: Look, packages: Packages, way: str) -> None:
    place = f"./usr/lib/modules/{RELEASE}"
    found = look(
        *packages(
            base={f"{place}/config": b"CONFIG_X=y\n", f"{place}/modules.builtin": BUILTIN},
            binary={f"{place}/vmlinuz.unsigned": boot_image()},
            modules={f"{place}/kernel/a.ko.xz": b"a"},
        )
    )
    assert found.config
    assert (found.image.name, found.config.name) == ("vmlinuz.unsigned", "config")
    assert (found.modules / "kernel/a.ko.xz").read_bytes() == b"a"
    assert "ext4" in found.builtin


def test_the_same_packages_are_unpacked_once_in_whatever_order(
    packages: Packages, way: str, tmp_path: Path
) -> None:
    paths = packages(image=IMAGE, modules=MODULES)
    told: list[tuple[int, int]] = []
    trees = [
        unpack(order, tmp_path / "scratch", LocalRunner(), lambda *now: told.append(now))
        for order in (paths, paths[::-1])
    ]
    assert trees[0] == trees[1]
    assert told == sorted(told)
    assert told[-1] == (2, 2)
    assert told.count((2, 2)) == 1


def test_what_another_version_unpacked_in_its_way_is_not_taken(
    look: Look, packages: Packages, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    path = packages(both=IMAGE | MODULES)[0]
    first = look(path)
    for text in ("_SCRIPT", "_LAYOUT"):
        other = f"{getattr(unpacking, text)}\n# as of another version"
        monkeypatch.setattr(f"kbtf_ci.kernel.packages.{text}", other)
    assert look(path).modules != first.modules
    assert (first.modules / "kernel").is_dir()


def test_packages_of_which_some_are_missing_say_what_is_not_there(
    look: Look, packages: Packages, way: str
) -> None:
    image, modules = packages(image=IMAGE, modules=MODULES)
    with pytest.raises(UsageError, match="but no modules"):
        look(image)
    with pytest.raises(UsageError, match="no kernel image in it"):
        look(modules)


@pytest.mark.parametrize("keep", [8, 200, 0.5, 0.98])
def test_a_truncated_package_is_named_and_leaves_nothing(
    look: Look, packages: Packages, tmp_path: Path, keep: float, way: str
) -> None:
    good = deb({**IMAGE, **MODULES, "./boot/vmlinux-more": os.urandom(100_000)})
    size = int(keep if keep > 1 else len(good) * keep)
    (path,) = packages(cut=good[:size])
    with pytest.raises(UsageError, match=r"cut\.deb: cannot be unpacked: ") as caught:
        look(path)
    assert "\n" not in caught.value.message
    assert [entry.name for entry in (tmp_path / "scratch").iterdir()] == [".lock"]


def test_of_several_packages_the_damaged_one_is_named(look: Look, packages: Packages, way: str) -> None:
    good, bad = packages(good=IMAGE, bad=deb(MODULES)[:-100])
    with pytest.raises(UsageError, match=r"bad\.deb: cannot be unpacked: [\x20-\x7e]+$"):
        look(good, bad)


@pytest.mark.parametrize("name", ["../escape", "./lib/../../escape", "{}/escape"])
def test_nothing_in_a_package_lands_outside_of_its_folder(
    look: Look, packages: Packages, tmp_path: Path, name: str, way: str
) -> None:
    (path,) = packages(evil={**IMAGE, **MODULES, name.format(tmp_path): b"evil"})
    with suppress(UsageError):
        look(path)
    assert not (tmp_path / "escape").exists()
    assert not list(tmp_path.glob("scratch/escape"))


def test_no_link_of_a_package_leads_out_of_its_folder(
    look: Look, packages: Packages, tmp_path: Path, way: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    evil: Content = {
        **IMAGE,
        **MODULES,
        "./lib": link(str(outside)),
        "./lib/x": b"x",
        "./lib/modules/6/x.ko": b"x",
    }
    (path,) = packages(evil=evil)
    with suppress(UsageError):
        look(path)
    assert list(outside.iterdir()) == []


def test_what_a_killed_process_left_half_is_swept_away(
    look: Look, packages: Packages, tmp_path: Path, way: str
) -> None:
    half = tmp_path / "scratch/.unpack-killed/tree"
    half.mkdir(parents=True)
    look(*packages(whole=IMAGE | MODULES))
    assert not half.parent.exists()


def test_a_cache_that_cannot_be_written_is_named(packages: Packages, tmp_path: Path, way: str) -> None:
    (tmp_path / "file").touch()
    (path,) = packages(whole=IMAGE | MODULES)
    with pytest.raises(InfrastructureError, match=re.escape(str(tmp_path / "file"))):
        find([str(path)], None, tmp_path / "file", LocalRunner())


def test_two_kernels_in_one_call_are_refused_by_name(look: Look, packages: Packages, way: str) -> None:
    other = {name.replace(RELEASE, OTHER): content for name, content in (IMAGE | MODULES).items()}
    other[f"./boot/vmlinuz-{OTHER}"] = boot_image(OTHER)
    with pytest.raises(UsageError, match=rf"2 kernels in it: {re.escape(OTHER)}, {RELEASE}"):
        look(*packages(one=IMAGE | MODULES, other=other))


# ---- by the image's tools alone


@pytest.mark.usefixtures("tools")
def test_links_and_special_files_of_a_package_are_not_kept(
    look: Look, packages: Packages, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    odd = {
        f"./boot/config-{RELEASE}": link(str(tmp_path / "secret")),
        "./boot/vmlinuz-pipe": special(tarfile.FIFOTYPE),
    }
    found = look(*packages(odd={**IMAGE, **MODULES, **odd}))
    assert found.config is None
    assert [path.name for path in found.image.parent.iterdir()] == [f"vmlinuz-{RELEASE}"]


@pytest.mark.usefixtures("tools")
def test_folders_that_a_package_closes_can_be_read_and_removed(packages: Packages, tmp_path: Path) -> None:
    closed = tarfile.TarInfo()
    closed.type, closed.mode = tarfile.DIRTYPE, 0
    (path,) = packages(closed={**IMAGE, "./closed": closed})
    target = unpack([path], tmp_path / "scratch", LocalRunner())
    assert (target / "closed").stat().st_mode & 0o700 == 0o700


@pytest.mark.usefixtures("tools")
def test_a_full_disk_is_no_fault_of_the_package(look: Look, packages: Packages, tmp_path: Path) -> None:
    full = tmp_path / "bin"
    full.mkdir()
    (full / "tar").write_text("#!/bin/sh\ncat >/dev/null; echo 'tar: x: No space left on device'; exit 2\n")
    (full / "tar").chmod(0o755)
    (path,) = packages(whole=IMAGE | MODULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{full}:{os.environ['PATH']}")
        with pytest.raises(InfrastructureError, match="No space left on device"):
            look(path)


@pytest.mark.usefixtures("tools")
def test_an_interrupt_while_unpacking_leaves_nothing_half(packages: Packages, tmp_path: Path) -> None:
    class Interrupted(LocalRunner):
        def start(self, command: Command) -> NoReturn:
            (Path(command.mounts[-1].source) / "half").touch()
            raise KeyboardInterrupt

    (path,) = packages(whole=IMAGE | MODULES)
    with pytest.raises(KeyboardInterrupt):
        find([str(path)], None, tmp_path / "scratch", Interrupted())
    assert [entry.name for entry in (tmp_path / "scratch").iterdir()] == [".lock"]


@pytest.mark.usefixtures("tools")
def test_without_libarchive_an_rpm_says_what_it_wants_and_a_tarball_does_without(
    look: Look, tmp_path: Path
) -> None:
    package = tmp_path / "kernel.rpm"
    package.write_bytes(rpm(IMAGE | MODULES))
    with pytest.raises(InfrastructureError, match=r"kernel\.rpm: reading it wants libarchive") as caught:
        look(package)
    assert "kbtf-ci setup" in caught.value.hint
    (tmp_path / "all.tar.xz").write_bytes(lzma.compress(tarball(IMAGE | MODULES)))
    assert look(tmp_path / "all.tar.xz").release == RELEASE


@pytest.mark.usefixtures("tools")
def test_without_libarchive_and_without_an_engine_no_package_is_read(
    packages: Packages, tmp_path: Path
) -> None:
    with pytest.raises(InfrastructureError, match="wants libarchive"):
        unpack(packages(whole=IMAGE), tmp_path / "scratch", None)


# ---- every distribution's

WHOLE: Content = IMAGE | MODULES
SPLIT = f"./lib/modules/{RELEASE}"
CORE = {f"{SPLIT}/vmlinuz": boot_image(), f"{SPLIT}/config": b"CONFIG_X=y\n"}
FEDORA = {
    "kernel-core": CORE,
    "kernel-modules-core": {f"{SPLIT}/kernel/a.ko.xz": b"a"},
    "kernel-modules": {f"{SPLIT}/kernel/b.ko.xz": b"b"},
    "kernel-modules-extra": {f"{SPLIT}/extra/c.ko.xz": b"c"},
}
ARCH: Content = {
    f"usr/lib/modules/{RELEASE}/vmlinuz": boot_image(),
    f"usr/lib/modules/{RELEASE}/kernel/a.ko.zst": b"a",
    f"usr/lib/modules/{RELEASE}/build": link("/usr/src/linux"),
}
SUSE: Content = {
    f"./usr/lib/modules/{RELEASE}/vmlinuz": boot_image(),
    f"./usr/lib/modules/{RELEASE}/config": b"CONFIG_X=y\n",
    f"./usr/lib/modules/{RELEASE}/kernel/a.ko.zst": b"a",
    f"./boot/vmlinuz-{RELEASE}": link(f"../usr/lib/modules/{RELEASE}/vmlinuz"),
}


def _packed(packer: str) -> bytes:
    return PACKERS[packer](tarball(WHOLE))


EVERY: dict[str, Callable[[], bytes]] = {
    **{f"linux-image-{name or 'plain'}.deb": partial(deb, WHOLE, name) for name in PACKERS},
    **{f"kernel-{name or 'plain'}.rpm": partial(rpm, WHOLE, name) for name in PACKERS},
    "kernel-default.rpm": lambda: rpm(SUSE),
    "linux-6.12.pkg.tar.zst": lambda: pacman(ARCH),
    "linux-lts.apk": lambda: apk({name.removeprefix("./"): data for name, data in WHOLE.items()}),
    **{f"linux.tar.{name}": partial(_packed, name) for name in PACKERS},
}


@pytest.mark.usefixtures("libarchive")
@pytest.mark.parametrize("name", EVERY)
def test_a_package_of_every_kind_is_a_kernel(look: Look, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(EVERY[name]())
    found = look(tmp_path / name)
    assert (found.release, found.modules.name) == (RELEASE, RELEASE)
    assert [path.read_bytes() for path in found.modules.rglob("*.ko.*")] == [b"a"]
    assert (found.config is None) == name.endswith("pkg.tar.zst")


@pytest.fixture
def fedora(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.rpm" for name in FEDORA}
    for name, path in paths.items():
        needs = {"kernel-modules-core-uname-r": RELEASE} if name == "kernel-core" else None
        path.write_bytes(rpm(FEDORA[name], name=name, needs=needs))
    return paths


@pytest.mark.usefixtures("libarchive")
def test_fedoras_split_packages_are_one_kernel(look: Look, fedora: Mapping[str, Path]) -> None:
    found = look(*fedora.values())
    assert sorted(path.name for path in found.modules.rglob("*.ko.xz")) == ["a.ko.xz", "b.ko.xz", "c.ko.xz"]


@pytest.mark.usefixtures("libarchive")
def test_the_package_that_is_missing_is_named_as_its_distribution_does(
    look: Look, fedora: Mapping[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"has a kernel, {RELEASE}, but no modules") as caught:
        look(fedora["kernel-core"])
    assert f"kernel-core needs kernel-modules-core-{RELEASE}" in caught.value.hint
    with pytest.raises(UsageError, match="no kernel image in it") as caught:
        look(fedora["kernel-modules-core"])
    assert f"kernel-core-{RELEASE}" in caught.value.hint
    cases = {
        "meta.deb": (
            deb({}, name="linux-image-amd64", needs=f"linux-image-{RELEASE} (= 1:6), linux-base (>= 4)"),
            f"linux-image-amd64 needs linux-image-{RELEASE}:",
        ),
        "ubuntu.deb": (
            deb(IMAGE, name=f"linux-image-{RELEASE}", needs=f"kmod, linux-base, linux-modules-{RELEASE}"),
            f"needs linux-modules-{RELEASE}:",
        ),
        "silent.deb": (deb(IMAGE), f"linux-modules-{RELEASE}"),
        "meta.rpm": (
            rpm({}, name="kernel", needs={"kernel-core-uname-r": RELEASE, "rpmlib(x)": "1"}),
            f"kernel needs kernel-core-{RELEASE}:",
        ),
        "headers.pkg.tar.zst": (pacman({}, name="linux-headers"), "linux-zen"),
        "meta.apk": (apk({}, name="linux-meta", needs=["linux-virt"]), "linux-virt"),
        "some.tar": (tarball(IMAGE), "lib/modules/RELEASE"),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=re.escape(name)) as caught:
            look(tmp_path / name)
        assert words in caught.value.hint, name


@pytest.mark.usefixtures("libarchive")
def test_tuxmakes_image_and_its_archive_of_modules_are_one_kernel(look: Look, tmp_path: Path) -> None:
    image, modules = tmp_path / "bzImage", tmp_path / "modules.tar.xz"
    image.write_bytes(boot_image())
    modules.write_bytes(lzma.compress(tarball({f"lib/modules/{RELEASE}/kernel/a.ko": b"a"})))
    for found in (look(image, modules), look(image, modules=modules)):
        assert [path.name for path in found.modules.rglob("*.ko")] == ["a.ko"]
    with pytest.raises(UsageError, match="neither a folder nor an archive"):
        look(image, modules=image)


@pytest.mark.usefixtures("libarchive")
def test_what_is_no_archive_is_named(look: Look, packages: Packages, tmp_path: Path) -> None:
    image, text = tmp_path / "image", tmp_path / "text"
    image.write_bytes(boot_image())
    text.write_bytes(b"PK\3\4 something else")
    with pytest.raises(UsageError, match=r"text: no package or other archive"):
        look(*packages(whole=WHOLE), image, text)
    with pytest.raises(UsageError, match=r"text: not a kernel"):
        look(text)
    for magic in (b"ADB.", b"ADBd", b"ADBc"):
        text.write_bytes(magic + bytes(100))
        with pytest.raises(UsageError, match=r"text: a package of apk's version 3 \(ADB\)"):
            look(text)
