# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel as it lies in folders: its image, its modules, what is known of it beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.objfile.inventory import found_modules

MODULES: Final = ("lib/modules", "usr/lib/modules", "kernel-modules/lib/modules")  # the last is NixOS'
_RELEASE: Final = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Prebuilt:
    """One kernel with its modules.

    ``image`` is what boots, by whatever name; ``modules`` the folder that the ``.ko`` files, compressed or
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
    initramfs: Initramfs | None = None


@dataclass(frozen=True)
class Initramfs:
    """Where ``Prebuilt.modules`` were found: in this file.

    ``others`` is the folder of the same kernel's modules elsewhere, None where none were named.
    """

    path: Path
    others: Path | None


def modules_folder(given: Path, release: str) -> Path:
    """Return the folder with the modules of ``release``: ``given``, or what is below it.

    Raises UsageError when there are none, or those of another release.
    """
    places = [given / place / release for place in (*MODULES, "")]
    for place in places:
        if place.is_dir():
            return _with_modules(place)
    others = sorted({path.name for path in release_folders(given)})
    own = given.resolve().name
    if not others and own != release and _RELEASE.match(own):
        others = [own]
    if others:
        raise UsageError(
            f"{given}: modules of {', '.join(others)}, but the kernel is {release}",
            hint="a kernel loads its own modules only: name both of one build",
        )
    return _with_modules(given)


def release_folders(tree: Path) -> Iterator[Path]:
    """Yield the folders below ``tree`` that each hold one release's modules; ``tree`` may be lib/modules."""
    below = [path for place in MODULES for path in tree.glob(f"{place}/*")]
    below += [path for path in tree.glob("*") if _RELEASE.match(path.name)]
    yield from (path for path in below if path.is_dir() and any_module(path))


def _with_modules(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"--modules {folder}: not a folder")
    if not any_module(folder):
        raise UsageError(
            f"{folder}: no modules in it", hint="name the folder that holds the kernel's .ko files"
        )
    return folder


def any_module(folder: Path) -> bool:
    """Return whether a module lies below ``folder``."""
    return next(found_modules(folder), None) is not None


def prebuilt(release: str, image: Path, modules: Path, beside: Iterable[Path], origin: str) -> Prebuilt:
    """Return the kernel, with the configuration that lies in a folder ``beside`` it or among its modules."""
    places = [modules / "config"]
    places += [folder / name for folder in beside for name in (f"config-{release}", "config", ".config")]
    return Prebuilt(
        release=release,
        image=image,
        modules=modules,
        config=next((path for path in places if path.is_file()), None),
        builtin=builtin_names(modules / "modules.builtin"),
        origin=origin,
    )


def builtin_names(path: Path) -> frozenset[str]:
    """Return the names in a modules.builtin, none where there is no such file."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    # Its lines are paths: kernel/drivers/virtio/virtio_pci.ko
    names = (line.rsplit("/", 1)[-1].removesuffix(".ko") for line in lines if line)
    return frozenset(name.replace("-", "_") for name in names)
