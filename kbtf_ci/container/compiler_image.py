# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Another compiler than the suite's own gcc: an image on top of the toolchain's, or of an architecture's.

It is made when the first kernel is to be built with that compiler.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Final

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine
from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.model.compiler import Compiler

PREFIX: Final = "kbtf-ci/compiler-"

# What apt lacks is told with what there is of that family. A linker is linked to the program that keeps
# accounts of it (containers/account.c).
_CONTAINERFILE: Final = """\
ARG BASE
FROM ${{BASE}}
RUN apt-get update --error-on=any \\
 && for package in {packages}; do \\
      apt-cache show "$package" > /dev/null 2>&1 || {{ \\
        echo "kbtf-ci-missing $package:" \\
          $(apt-cache pkgnames {family} | grep -xE '{family}(-[0-9]+)?' | sort -V); \\
        exit 1; \\
      }}; \\
    done \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {packages} \\
 && dpkg-query -W -f '${{Package}} ${{Version}}\\n' >> {listing} \\
 && for name in {linkers}; do ln -s /usr/bin/kbtf-ci-account "/usr/lib/kbtf-ci/accounted/$name"; done \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
"""
_MISSING: Final = re.compile(r"^kbtf-ci-missing (\S+): ?(.*)$", re.MULTILINE)


def image_name(compiler: Compiler, triplet: str, below: image.Toolchain) -> str:
    """Return the name of the image with a compiler on top of another one of ours."""
    return name_on(compiler, triplet, below.suite, below.image)


def name_on(compiler: Compiler, triplet: str, suite: str, below: str) -> str:
    """Return the same of the image ``below`` by its name."""
    recipe = below.encode() + b"\0" + _containerfile(compiler, triplet)
    # A name may hold no "+".
    own = compiler.name.replace("+", ".")
    return f"{PREFIX}{own}:{suite}-{hashlib.sha256(recipe).hexdigest()[:12]}"


def ensure(
    engine: Engine,
    below: image.Toolchain,
    compiler: Compiler,
    triplet: str,
    on_progress: Callable[[str], None],
) -> image.Toolchain:
    """Return ``below`` with a compiler on top, made unless the engine holds it.

    ``triplet`` is that of another architecture to build for, "" for the machine's own. Raises UsageError
    where the suite has no such compiler, InfrastructureError when the image does not build otherwise.
    """
    name = image_name(compiler, triplet, below)
    try:
        image.ensure_on_top(engine, name, _containerfile(compiler, triplet), below.image, on_progress)
    except InfrastructureError as error:
        if missing := _MISSING.search(error.detail or ""):
            raise UsageError(
                f"--toolchain {compiler.name}: Debian {below.suite} has no package {missing[1]}",
                hint=f"it has {', '.join(missing[2].split())}" if missing[2] else "--suite names another one",
            ) from error
        raise
    return image.Toolchain(name, below.suite, image.packages(engine, name))


def _containerfile(compiler: Compiler, triplet: str) -> bytes:
    text = _CONTAINERFILE.format(
        packages=" ".join(compiler.packages(triplet)),
        family=compiler.family,
        linkers=" ".join(compiler.linkers),
        listing=image.PACKAGES,
    )
    return text.encode()
