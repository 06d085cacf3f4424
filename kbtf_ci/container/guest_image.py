# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What guests of another architecture run in and are made of: an image on top of the toolchain's.

It has their QEMU, the root archive in the place of the toolchain's, a strip and an objcopy that know their
files, and the compiler that the archive's programs are made with, and kernels built for that architecture. It
is made when the first such guest is to boot, or such a kernel to be built. By a link to the cross linker's
name accounts are kept of it (containers/account.c).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from kbtf_ci.container import base, image
from kbtf_ci.container.engine import Engine
from kbtf_ci.model.machines.machine import MachineType

PREFIX: Final = "kbtf-ci/guest-"

_CONTAINERFILE: Final = """\
ARG BASE
FROM ${{BASE}}
RUN apt-get update --error-on=any \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {packages} \\
 && dpkg-query -W -f '${{Package}} ${{Version}}\\n' > {listing} \\
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN sh /usr/src/kbtf-ci/guest/foreign /usr/src/kbtf-ci {debian} {triplet} /tmp/foreign {suites} \\
 && mv /tmp/foreign/guest-root.cpio /usr/lib/kbtf-ci/guest-root.cpio \\
 && mv /tmp/foreign/bin/strip /usr/local/bin/strip \\
 && ln -s "$(command -v {triplet}-objcopy)" /usr/local/bin/objcopy \\
 && for name in ld ld.bfd; do \\
      ln -s /usr/bin/kbtf-ci-account /usr/lib/kbtf-ci/accounted/{triplet}-$name; \\
    done \\
 && cat /tmp/foreign/packages >> {listing} \\
 && rm -r /tmp/foreign
"""


def image_name(machine: MachineType, suite: str, toolchain: str) -> str:
    """Return the name of the image that stands on ``toolchain``, an image's name."""
    recipe = toolchain.encode() + b"\0" + _containerfile(machine, suite)
    return f"{PREFIX}{machine.name}:{suite}-{hashlib.sha256(recipe).hexdigest()[:12]}"


def ensure(
    engine: Engine, toolchain: image.Toolchain, machine: MachineType, on_progress: Callable[[str], None]
) -> image.Toolchain:
    """Return the toolchain with what guests on ``machine`` need, made unless the engine holds it.

    Raises InfrastructureError when that fails.
    """
    name = image_name(machine, toolchain.suite, toolchain.image)
    image.ensure_on_top(engine, name, _containerfile(machine, toolchain.suite), toolchain.image, on_progress)
    return image.Toolchain(name, toolchain.suite, image.packages(engine, name))


def _containerfile(machine: MachineType, suite: str) -> bytes:
    compiler = machine.triplet.replace("_", "-")
    debian = machine.architecture.debian
    text = _CONTAINERFILE.format(
        packages=f"{machine.package} gcc-{compiler} libc6-dev-{debian}-cross",
        listing=image.PACKAGES,
        debian=debian,
        triplet=machine.triplet,
        # Mirrors leave architectures out of some suites; a guest's userland may well be a newer one's.
        suites=" ".join(base.SUITES[base.SUITES.index(suite) :]),
    )
    return text.encode()
