# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What builds pahole: the toolchain image, and on top of it what pahole's own build asks for besides.

It is made when the first pahole is built of source: most runs take the image's own, and need none of this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine

PREFIX: Final = "kbtf-ci/pahole-build:"

# Debian's dwarves builds with cmake against the system's libbpf (Build-Depends of dwarves 1.24 to 1.32);
# compiler, libdw, libelf and zlib are in the toolchain image. The libbpf that such a pahole is linked with at
# run time is in there too, with Debian's own pahole.
_CONTAINERFILE: Final = b"""\
ARG BASE
FROM ${BASE}
RUN apt-get update --error-on=any \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends cmake libbpf-dev pkgconf \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
"""


def image_name(suite: str, toolchain: str) -> str:
    """Return the name of the image that stands on ``toolchain``, an image's name."""
    digest = hashlib.sha256(toolchain.encode() + b"\0" + _CONTAINERFILE).hexdigest()
    return f"{PREFIX}{suite}-{digest[:12]}"


def ensure(engine: Engine, toolchain: image.Toolchain, on_progress: Callable[[str], None]) -> str:
    """Return the image's name, made unless the engine holds it. Raises InfrastructureError when it fails."""
    name = image_name(toolchain.suite, toolchain.image)
    image.ensure_on_top(engine, name, _CONTAINERFILE, toolchain.image, on_progress)
    return name
