# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which package of a kernel is missing, by what those at hand need and by how their distribution names it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from kbtf_ci.objfile.archive.description import Maker, Package, describe

# Of what a package of a kernel needs, that which holds a part of a kernel.
_OF_A_KERNEL: Final = re.compile(r"linux-(?:(?:image|modules|binary)-|base-\d).+|kernel(?:-.+)?")
_OTHERS: Final = re.compile(r".*-(?:headers|devel|tools|doc|firmware|install|srpm-macros)\b.*")


class Part(Enum):
    """What a kernel lacks."""

    IMAGE = "image"
    MODULES = "modules"


# How distributions name what holds a part, for packages which do not say what they need.
_NAMES: Final = {
    (Maker.DEBIAN, Part.IMAGE): "linux-image-{0}, or since 7.x linux-binary-{0}",
    (Maker.DEBIAN, Part.MODULES): "linux-modules-{0}, and Ubuntu's linux-modules-extra-{0}",
    (Maker.RPM, Part.IMAGE): "kernel-core-{0} (Fedora), kernel-default (SUSE)",
    (Maker.RPM, Part.MODULES): "kernel-modules-core-{0}, kernel-modules-{0} (Fedora), kernel-default (SUSE)",
    (Maker.ARCH, Part.IMAGE): "linux, linux-lts, linux-zen: one package has all",
    (Maker.ARCH, Part.MODULES): "linux, linux-lts, linux-zen: one package has all",
    (Maker.ALPINE, Part.IMAGE): "linux-lts, linux-virt: one package has all",
    (Maker.ALPINE, Part.MODULES): "linux-lts, linux-virt: one package has all",
}  # fmt: skip
_UNKNOWN: Final = "name the boot image and an archive with lib/modules/RELEASE: --kernel takes several"


def missing(archives: Sequence[Path], part: Part, release: str) -> str:
    """Return the way out for packages that hold no such part of a kernel; ``release`` is empty if unknown."""
    packages = [package for path in archives if (package := describe(path))]
    if not packages:
        return _UNKNOWN
    own = {package.name for package in packages}
    for package in packages:
        needed = [name for name in dict.fromkeys(package.needs) if _is_part(name, own)]
        if needed:
            return f"{package.name} needs {', '.join(needed)}: name every package of the kernel"
    return f"name the package that has it too: {_by_name(packages[0], part, release)}"


def _is_part(name: str, own: set[str]) -> bool:
    return bool(_OF_A_KERNEL.fullmatch(name)) and not _OTHERS.match(name) and name not in own


def _by_name(package: Package, part: Part, release: str) -> str:
    return _NAMES[package.maker, part].format(release or "RELEASE")
