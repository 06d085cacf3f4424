# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel that is installed: of the running system, or of one below another root."""

from __future__ import annotations

from pathlib import Path

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.laid_out import MODULES, Prebuilt, any_module, modules_folder, prebuilt
from kbtf_ci.objfile.boot_kernel import read_release
from kbtf_ci.objfile.inventory import found_modules
from kbtf_ci.objfile.within import resolve_in

RUNNING = "running"


def running(root: Path, release: str, modules: Path | None) -> Prebuilt:
    """Return the kernel of this release that is installed below ``root``, which is this system's own."""
    places = [root / f"boot/vmlinuz-{release}", *(root / place / release / "vmlinuz" for place in MODULES)]
    image = next((path for path in places if path.is_file()), None)
    if image is None:
        raise UsageError(
            f"--kernel {RUNNING}: no image of {release} here ({', '.join(map(str, places))})",
            hint="name the image, and its modules with --modules",
        )
    return prebuilt(
        read_release(image), image, modules_folder(modules or root, release), [image.parent], RUNNING
    )


def in_root(root: Path, modules: Path | None) -> Prebuilt:
    """Return the kernel of a system that is installed below ``root``, whose links lead where they do there.

    Raises UsageError where there is none or several, and for a module that leads out of ``root``.
    """
    boot, *places = (resolve_in(root, name) for name in ("boot", "usr/lib/modules", "lib/modules"))
    found = [*boot.glob("vmlinuz-*"), *(path for place in places for path in place.glob("*/vmlinuz"))]
    images: dict[str, Path] = {}
    for path in sorted(resolve_in(root, str(path.relative_to(root))) for path in found):
        if path.is_file():
            images.setdefault(read_release(path), path)
    if len(images) != 1:
        listed = f": {', '.join(sorted(images))}" if images else ""
        raise UsageError(
            f"--root {root}: {len(images) or 'no'} kernels in it{listed}",
            hint="name one: --kernel ROOT/boot/vmlinuz-RELEASE --modules ROOT",
        )
    ((release, image),) = images.items()
    folder = next((path for place in places if (path := place / release).is_dir()), None)
    if modules is None and (folder is None or not any_module(folder)):
        raise UsageError(f"--root {root}: has a kernel, {release}, but no modules")
    folder = modules_folder(modules, release) if modules is not None else folder
    assert folder is not None
    _require_within(root, folder)
    return prebuilt(release, image, folder, [boot], str(root))


def _require_within(root: Path, folder: Path) -> None:
    around = root.resolve()
    if not folder.resolve().is_relative_to(around):
        return  # named by itself
    for path in found_modules(folder):
        if not path.resolve().is_relative_to(around):
            raise UsageError(
                f"--root {root}: {path} leads out of it, to {path.resolve()}",
                hint="call kbtf-ci within that system, or put there what it leads to",
            )
