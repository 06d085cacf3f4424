# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel that a user named, which others built: from images, packages, folders, an initramfs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.record import Counter, uncounted
from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.installed import RUNNING, in_root, running
from kbtf_ci.kernel.laid_out import (
    Initramfs,
    Prebuilt,
    builtin_names,
    modules_folder,
    prebuilt,
    release_folders,
)
from kbtf_ci.kernel.missing import Part, missing
from kbtf_ci.kernel.packages import unpack, unpack_initramfs
from kbtf_ci.objfile.archive.kinds import kind_of
from kbtf_ci.objfile.boot_kernel import read_release

# Below a root: Debian up to 6.x and most others, of some architectures without the z; Debian since 7.x,
# Fedora, SUSE, Arch; a build's or tuxmake's output; a system of NixOS.
_IMAGES: Final = (
    "boot/vmlinuz-*",
    "boot/vmlinux-*",
    "lib/modules/*/vmlinuz",
    "lib/modules/*/vmlinuz.unsigned",
    "usr/lib/modules/*/vmlinuz",
    "usr/lib/modules/*/vmlinuz.unsigned",
    "vmlinuz*",
    "bzImage",
    "Image*",
    "kernel",
)
_TUXMAKE_MODULES: Final = "modules.tar*"


@dataclass(frozen=True)
class _Packed:
    """An initramfs, and the folder that it is unpacked in."""

    path: Path
    tree: Path

    def modules(self, release: str) -> Path:
        """Return the folder of its modules. Raises UsageError where they are of another release, or none."""
        releases = sorted({folder.name for folder in release_folders(self.tree)})
        if release in releases:
            return modules_folder(self.tree, release)
        words = f"modules of {', '.join(releases)}, but the kernel is {release}"
        raise UsageError(
            f"--initramfs {self.path}: {words if releases else 'no modules in it'}",
            hint="a kernel loads its own modules only: make its initramfs again" if releases else "",
        )

    def of(self, found: Prebuilt) -> Prebuilt:
        """Return the kernel with these modules in the place of its own."""
        folder = self.modules(found.release)
        others = None if found.modules == folder else found.modules
        builtin = found.builtin or builtin_names(folder / "modules.builtin")
        return replace(found, modules=folder, builtin=builtin, initramfs=Initramfs(self.path, others))


# Where a kernel's modules are: a folder, or an initramfs where there is no other place.
_Place = Path | _Packed


def find(
    kernel: Sequence[str],
    modules: Path | None,
    scratch: Path,
    runner: Runner | None,
    on_done: Counter = uncounted,
    *,
    initramfs: Path | None = None,
    root: Path | None = None,
) -> Prebuilt:
    """Return the kernel that the user named.

    ``kernel`` is one boot image, one folder, ``running``, or archives that belong together, packages or
    tarballs; one boot image may be among them. ``modules`` is ``lib/modules/<release>``, a folder above it,
    or an archive; it may be None where ``kernel`` holds the modules too. Archives are unpacked below
    ``scratch``, and kept there; ``on_done`` hears how many are. ``runner``: see ``packages.unpack``. With
    ``root``, a folder that a system is installed in, ``kernel`` is empty. With ``initramfs`` its modules are
    the kernel's. Raises UsageError for what is not there, is no kernel, has no modules or those of another
    release, or does not unpack.
    """
    if modules is not None and modules.is_file():
        modules = unpack([_archive(modules)], scratch, runner, on_done)
    packed = None if initramfs is None else _Packed(initramfs, unpack_initramfs(initramfs, scratch))
    if root is not None:
        found = in_root(root, modules)
    else:
        found = _find(kernel, modules, packed, _Unpacking(scratch, runner, on_done))
    return found if packed is None else packed.of(found)


@dataclass(frozen=True)
class _Unpacking:
    scratch: Path
    runner: Runner | None
    on_done: Counter

    def __call__(self, archives: Sequence[Path]) -> Path:
        return unpack(archives, self.scratch, self.runner, self.on_done)


def _find(
    kernel: Sequence[str], modules: Path | None, packed: _Packed | None, unpacked: _Unpacking
) -> Prebuilt:
    origin = " ".join(kernel)
    if list(kernel) == [RUNNING]:
        return running(Path("/"), os.uname().release, modules)
    paths = [_existing(word) for word in kernel]
    archives = [path for path in paths if path.is_file() and kind_of(path) is not None]
    others = [path for path in paths if path not in archives]
    if len(others) > 1:
        raise UsageError(
            f"--kernel {others[1]}: no package or other archive; only of those there may be several"
        )
    tree = unpacked(archives) if archives else None
    if not others and tree is not None:
        return _in_tree(tree, modules, packed, origin, partial(missing, archives))
    if others[0].is_dir() and not archives:
        if modules is None:
            modules = _of_tuxmake(others[0], unpacked)
        return _in_tree(others[0], modules, packed, origin, _folder_way_out)
    return _image(others[0], modules or tree or packed, origin)


def _archive(path: Path) -> Path:
    if kind_of(path) is None:
        raise UsageError(f"--modules {path}: neither a folder nor an archive")
    return path


# What to do where a part of a kernel is not there, of this release, which is empty if unknown.
_WayOut = Callable[[Part, str], str]


def _folder_way_out(_part: Part, _release: str) -> str:
    return "name the boot image with --kernel, and the modules' folder with --modules"


def check_named(kernel: Sequence[str]) -> None:
    """Raise UsageError, before anything is started, for a file or folder that is not there."""
    for word in kernel:
        if word != RUNNING:
            _existing(word)


def _existing(word: str) -> Path:
    if not word:
        raise UsageError("--kernel '': names nothing", hint="name an image, packages, a folder, or running")
    path = Path(word)
    if not path.exists():
        raise UsageError(f"--kernel {word}: no such file or directory")
    if not path.is_dir() and not path.is_file():
        raise UsageError(f"--kernel {word}: neither a file nor a folder")
    return path


def _image(image: Path, modules: _Place | None, origin: str) -> Prebuilt:
    release = read_release(image)
    if modules is None:
        raise UsageError(
            f"--kernel {image}: where are the modules of {release}?",
            hint=f"name their folder, as in --modules /lib/modules/{release}",
        )
    return prebuilt(release, image, _modules(modules, release), [image.parent], origin)


def _modules(place: _Place, release: str) -> Path:
    return place.modules(release) if isinstance(place, _Packed) else modules_folder(place, release)


def _of_tuxmake(tree: Path, unpacked: _Unpacking) -> Path | None:
    """Return the modules of a folder that tuxmake made, which leaves them in an archive; None without one."""
    archives = sorted(tree.glob(_TUXMAKE_MODULES))
    return unpacked(archives[:1]) if archives and not any(release_folders(tree)) else None


def _in_tree(
    tree: Path, modules: Path | None, packed: _Packed | None, origin: str, way_out: _WayOut
) -> Prebuilt:
    candidates = [path for pattern in _IMAGES for path in sorted(tree.glob(pattern)) if path.is_file()]
    if not candidates:
        release = next((path.name for path in release_folders(tree)), "")
        raise UsageError(
            f"--kernel {origin}: no kernel image in it (boot/vmlinuz-*, bzImage ...)",
            hint=way_out(Part.IMAGE, release),
        )
    images: dict[str, Path] = {}
    for path in candidates:
        images.setdefault(read_release(path), path)
    if len(images) > 1:
        raise UsageError(
            f"--kernel {origin}: there are {len(images)} kernels in it: {', '.join(sorted(images))}",
            hint="name one of them: its packages, or its image with --kernel and its folder with --modules",
        )
    ((release, image),) = images.items()
    place: _Place = modules or tree
    if modules is None and not any(release_folders(tree)):
        if packed is None:
            raise UsageError(
                f"--kernel {origin}: has a kernel, {release}, but no modules",
                hint=way_out(Part.MODULES, release),
            )
        place = packed
    return prebuilt(release, image, _modules(place, release), [image.parent, tree], origin)
