# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel that others built: which image boots, and where its modules and its configuration lie."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.infra.record import Counter, uncounted
from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.missing import Part, missing
from kbtf_ci.kernel.packages import unpack
from kbtf_ci.objfile.archive.kinds import kind_of
from kbtf_ci.objfile.boot_image import read_release
from kbtf_ci.objfile.inventory import found_modules

RUNNING: Final = "running"

# Below a root: Debian up to 6.x and most others; Debian since 7.x, Fedora, SUSE, Arch; a build's or tuxmake's
# output; a system of NixOS.
_IMAGES: Final = (
    "boot/vmlinuz-*",
    "lib/modules/*/vmlinuz",
    "lib/modules/*/vmlinuz.unsigned",
    "usr/lib/modules/*/vmlinuz",
    "usr/lib/modules/*/vmlinuz.unsigned",
    "vmlinuz*",
    "bzImage",
    "kernel",
)
_MODULES: Final = ("lib/modules", "usr/lib/modules", "kernel-modules/lib/modules")
_TUXMAKE_MODULES: Final = "modules.tar*"
_RELEASE: Final = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Prebuilt:
    """One kernel with its modules.

    ``image`` is a bzImage, by whatever name; ``modules`` the folder that the ``.ko`` files, compressed or
    not, lie below as they do below ``/lib/modules/<release>``. ``config`` is its .config file, None where
    there is none beside it; ``builtin`` the names in ``modules.builtin`` (with ``_``), empty where there is
    no such file. ``origin`` is what the user named.
    """

    release: str
    image: Path
    modules: Path
    config: Path | None
    builtin: frozenset[str]
    origin: str


def find(
    kernel: Sequence[str],
    modules: Path | None,
    scratch: Path,
    runner: Runner | None,
    on_done: Counter = uncounted,
) -> Prebuilt:
    """Return the kernel that the user named.

    ``kernel`` is one boot image, one folder, ``running``, or archives that belong together, packages or
    tarballs; one boot image may be among them. ``modules`` is ``lib/modules/<release>``, a folder above it,
    or an archive; it may be None where ``kernel`` holds the modules too. Archives are unpacked below
    ``scratch``, and kept there; ``on_done`` hears how many are. ``runner``: see ``packages.unpack``. Raises
    UsageError for what is not there, is no kernel for x86_64, has no modules or those of another release, or
    does not unpack.
    """
    origin = " ".join(kernel)
    if modules is not None and modules.is_file():
        modules = unpack([_archive(modules)], scratch, runner, on_done)
    if list(kernel) == [RUNNING]:
        return _running(Path("/"), os.uname().release, modules)
    paths = [_existing(word) for word in kernel]
    archives = [path for path in paths if path.is_file() and kind_of(path) is not None]
    others = [path for path in paths if path not in archives]
    if len(others) > 1:
        raise UsageError(
            f"--kernel {others[1]}: no package or other archive; only of those there may be several"
        )
    tree = unpack(archives, scratch, runner, on_done) if archives else None
    if not others and tree is not None:
        return _in_tree(tree, modules, origin, partial(missing, archives))
    if others[0].is_dir() and not archives:
        return _in_folder(others[0], modules, origin, scratch, runner)
    return _image(others[0], modules or tree, origin)


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


def _image(image: Path, modules: Path | None, origin: str) -> Prebuilt:
    release = read_release(image)
    if modules is None:
        raise UsageError(
            f"--kernel {image}: where are the modules of {release}?",
            hint=f"name their folder, as in --modules /lib/modules/{release}",
        )
    folder = modules_folder(modules, release)
    return _prebuilt(release, image, folder, [image.parent], origin)


def _in_folder(
    tree: Path, modules: Path | None, origin: str, scratch: Path, runner: Runner | None
) -> Prebuilt:
    """Return the kernel of a folder that the user has; tuxmake leaves the modules in an archive."""
    archives = sorted(tree.glob(_TUXMAKE_MODULES))
    if modules is None and archives and not any(_releases(tree)):
        modules = unpack(archives[:1], scratch, runner)
    return _in_tree(tree, modules, origin, _folder_way_out)


def _in_tree(tree: Path, modules: Path | None, origin: str, way_out: _WayOut) -> Prebuilt:
    candidates = [path for pattern in _IMAGES for path in sorted(tree.glob(pattern)) if path.is_file()]
    if not candidates:
        release = next((path.name for path in _releases(tree)), "")
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
    if modules is None and not any(_releases(tree)):
        raise UsageError(
            f"--kernel {origin}: has a kernel, {release}, but no modules",
            hint=way_out(Part.MODULES, release),
        )
    return _prebuilt(release, image, modules_folder(modules or tree, release), [image.parent, tree], origin)


def _running(root: Path, release: str, modules: Path | None) -> Prebuilt:
    places = [root / f"boot/vmlinuz-{release}", *(root / place / release / "vmlinuz" for place in _MODULES)]
    image = next((path for path in places if path.is_file()), None)
    if image is None:
        raise UsageError(
            f"--kernel {RUNNING}: no image of {release} here ({', '.join(map(str, places))})",
            hint="name the image, and its modules with --modules",
        )
    return _prebuilt(
        read_release(image), image, modules_folder(modules or root, release), [image.parent], RUNNING
    )


def modules_folder(given: Path, release: str) -> Path:
    """Return the folder with the modules of ``release``: ``given``, or what is below it.

    Raises UsageError when there are none, or those of another release.
    """
    places = [given / place / release for place in (*_MODULES, "")]
    for place in places:
        if place.is_dir():
            return _with_modules(place)
    others = sorted({path.name for path in _releases(given)})
    own = given.resolve().name
    if not others and own != release and _RELEASE.match(own):
        others = [own]
    if others:
        raise UsageError(
            f"{given}: modules of {', '.join(others)}, but the kernel is {release}",
            hint="a kernel loads its own modules only: name both of one build",
        )
    return _with_modules(given)


def _releases(tree: Path) -> Iterator[Path]:
    """Yield the folders below ``tree`` that each hold one release's modules; ``tree`` may be lib/modules."""
    below = [path for place in _MODULES for path in tree.glob(f"{place}/*")]
    below += [path for path in tree.glob("*") if _RELEASE.match(path.name)]
    yield from (path for path in below if path.is_dir() and _any_module(path))


def _with_modules(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"--modules {folder}: not a folder")
    if not _any_module(folder):
        raise UsageError(
            f"{folder}: no modules in it", hint="name the folder that holds the kernel's .ko files"
        )
    return folder


def _any_module(folder: Path) -> bool:
    return next(found_modules(folder), None) is not None


def _prebuilt(release: str, image: Path, modules: Path, beside: Iterable[Path], origin: str) -> Prebuilt:
    places = [modules / "config"]
    places += [folder / name for folder in beside for name in (f"config-{release}", "config", ".config")]
    return Prebuilt(
        release=release,
        image=image,
        modules=modules,
        config=next((path for path in places if path.is_file()), None),
        builtin=_builtin(modules / "modules.builtin"),
        origin=origin,
    )


def _builtin(path: Path) -> frozenset[str]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    # Its lines are paths: kernel/drivers/virtio/virtio_pci.ko
    names = (line.rsplit("/", 1)[-1].removesuffix(".ko") for line in lines if line)
    return frozenset(name.replace("-", "_") for name in names)
