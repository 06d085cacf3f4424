# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The pahole of another suite, with that suite's libbpf: made to run in any toolchain image.

The image holds it at the place where a build has it, from which it is copied once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from kbtf_ci.container import image
from kbtf_ci.container.engine import Engine

PREFIX: Final = "kbtf-ci/pahole-of-"
PLACE: Final = "/opt/kbtf-ci"

_CONTAINERFILE: Final = """\
ARG BASE
FROM ${{BASE}}
RUN apt-get update --error-on=any \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends patchelf \\
 && mkdir -p {place} \\
 && sh /usr/src/kbtf-ci/pahole-of /usr/src/kbtf-ci {suite} {place} \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
"""


def image_name(of: str, suite: str, toolchain: str) -> str:
    """Return the name of the image with the pahole ``of`` a suite, on ``toolchain``, an image's name."""
    recipe = toolchain.encode() + b"\0" + _containerfile(of)
    return f"{PREFIX}{of}:{suite}-{hashlib.sha256(recipe).hexdigest()[:12]}"


def ensure(engine: Engine, toolchain: image.Toolchain, of: str, on_progress: Callable[[str], None]) -> str:
    """Return the image's name, made unless the engine holds it. Raises InfrastructureError when it fails."""
    name = image_name(of, toolchain.suite, toolchain.image)
    image.ensure_on_top(engine, name, _containerfile(of), toolchain.image, on_progress)
    return name


def _containerfile(of: str) -> bytes:
    return _CONTAINERFILE.format(place=PLACE, suite=of).encode()
