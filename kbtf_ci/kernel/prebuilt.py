# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel that others built: which image boots, and where its modules and its configuration lie."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.infra.record import Counter, uncounted
from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.packages import is_package, unpack
from kbtf_ci.objfile.boot_image import read_release

RUNNING: Final = "running"

# Below a root: Debian up to 6.x and most others; Debian since 7.x, Fedora; a build's or tuxmake's output.
_IMAGES: Final = (
    "boot/vmlinuz-*",
    "lib/modules/*/vmlinuz",
    "usr/lib/modules/*/vmlinuz",
    "usr/lib/modules/*/vmlinuz.unsigned",
    "vmlinuz*",
    "bzImage",
)
_MODULES: Final = ("lib/modules", "usr/lib/modules")
_MODULE_NAMES: Final = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
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
    runner: Runner,
    on_done: Counter = uncounted,
) -> Prebuilt:
    """Return the kernel that the user named.

    ``kernel`` is one boot image, one folder, ``running``, or one Debian package or several that belong
    together. ``modules`` is ``lib/modules/<release>`` or a folder above it; it may be None where ``kernel``
    holds the modules too. Archives are unpacked below ``scratch``, and kept there; ``on_done`` hears how
    many packages are. Raises UsageError for what is not there, is no kernel for x86_64, has no modules or
    those of another release, or does not unpack.
    """
    origin = " ".join(kernel)
    if list(kernel) == [RUNNING]:
        return _running(Path("/"), os.uname().release, modules)
    paths = [_existing(word) for word in kernel]
    if all(path.is_file() and is_package(path) for path in paths):
        tree = unpack(paths, scratch, runner, on_done)
        return _in_tree(tree, modules, origin, _PACKAGE_HINT)
    if len(paths) > 1:
        odd = next(path for path in paths if path.is_dir() or not is_package(path))
        raise UsageError(f"--kernel {odd}: not a Debian package; only of those there may be several")
    if paths[0].is_dir():
        return _in_folder(paths[0], modules, origin, scratch, runner)
    return _image(paths[0], modules, origin)


_PACKAGE_HINT: Final = (
    "name every package of the kernel: linux-image-*, or since 7.x linux-binary-*, linux-modules-* and "
    "linux-base-*"
)
_FOLDER_HINT: Final = "name the boot image with --kernel, and the modules' folder with --modules"


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


def _in_folder(tree: Path, modules: Path | None, origin: str, scratch: Path, runner: Runner) -> Prebuilt:
    """Return the kernel of a folder that the user has; tuxmake leaves the modules in an archive."""
    archives = sorted(tree.glob(_TUXMAKE_MODULES))
    if modules is None and archives and not any(_releases(tree)):
        modules = unpack(archives[:1], scratch, runner)
    return _in_tree(tree, modules, origin, _FOLDER_HINT)


def _in_tree(tree: Path, modules: Path | None, origin: str, hint: str) -> Prebuilt:
    candidates = [path for pattern in _IMAGES for path in sorted(tree.glob(pattern)) if path.is_file()]
    if not candidates:
        raise UsageError(f"--kernel {origin}: no kernel image in it (boot/vmlinuz-*, bzImage ...)", hint=hint)
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
        raise UsageError(f"--kernel {origin}: has a kernel, {release}, but no modules", hint=hint)
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
    places = [given / place / release for place in _MODULES] + [given / release]
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
    return any(name.endswith(_MODULE_NAMES) for _, _, names in os.walk(folder) for name in names)


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
