# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The image below the toolchain: a registry's slim Debian, or one bootstrapped on this machine."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from kbtf_ci.container import subids
from kbtf_ci.container.api import Address, engine_errors, follow
from kbtf_ci.errors import EngineError, InfrastructureError
from kbtf_ci.infra.locks import keep_in_use
from kbtf_ci.infra.paths import cache_root

SUITES = ("bookworm", "trixie", "forky")

# mmdebstrap picks the mirror and, for a stable suite, the security updates; the image carries both on.
RECIPE = (
    "mmdebstrap",
    "--variant=apt",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    # A frozen mirror serves a testing suite's lists beyond the two weeks that they are valid for. They are
    # signed all the same, and run.json has the version of every package. The image keeps this setting.
    '--aptopt=Acquire::Check-Valid-Until "false"',
)

# A registry that has said nothing for this long is taken for none: many build machines reach none at all.
_REGISTRY_S = 15

Progress = Callable[[str], None]


def ensure(
    address: Address, suite: str, on_progress: Progress, install: Callable[[], None] | None = None
) -> str:
    """Return the name of a base image of ``suite`` that the engine holds, fetching or making it.

    ``install`` is called when mmdebstrap is needed and missing. Raises InfrastructureError when neither a
    registry nor mmdebstrap can give an image.
    """
    own, slim = own_name(suite), f"debian:{suite}-slim"
    keep_in_use(lock_folder(own))
    for name in (own, slim):
        if present(address, name):
            return name
    if _pull(address, slim, on_progress):
        return slim
    if install is not None and shutil.which(RECIPE[0]) is None:
        install()
    with subids.to_blame():
        _make(address, suite, own, on_progress)
    return own


def own_name(suite: str) -> str:
    """Return the name of the base image of ``suite`` that is made on this machine, with its recipe's hash."""
    recipe = hashlib.sha256(" ".join(RECIPE).encode()).hexdigest()[:12]
    return f"kbtf-ci/base-{suite}-{recipe}"  # all in the name: Podman's import passes over a tag


def lock_folder(name: str) -> Path:
    """Return the path that an image's locks are named after."""
    return cache_root() / "locks" / name.replace("/", "-").replace(":", "-")


def present(address: Address, name: str) -> bool:
    """Return whether the engine holds an image of that name. Raises EngineError."""
    with engine_errors(f"look for the image {name}"), closing(address.open()) as client:
        return bool(client.images(name=name, quiet=True))


def _pull(address: Address, name: str, on_progress: Progress) -> bool:
    on_progress(f"pulling {name}")
    try:
        with engine_errors(f"pull {name}"), closing(address.open(_REGISTRY_S)) as client:
            complaint = follow(client.pull(name, stream=True, decode=True), lambda _: None)
    except EngineError as error:
        complaint = error.message
    if complaint:
        on_progress(f"no registry gives {name}: {complaint}")
    return not complaint


def _make(address: Address, suite: str, name: str, on_progress: Progress) -> None:
    if shutil.which(RECIPE[0]) is None:
        raise InfrastructureError(
            f"no registry gives a Debian {suite} image, and mmdebstrap is not installed to make one",
            hint="run `kbtf-ci setup`, or install mmdebstrap",
        )
    on_progress(f"bootstrapping Debian {suite} with mmdebstrap")
    cache_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_root(), prefix="base-") as folder:
        tarball = Path(folder) / "root.tar"
        bootstrap(suite, tarball)
        with engine_errors(f"import {name}"), closing(address.open()) as client:
            client.import_image_from_file(str(tarball), repository=name, tag="latest")


def bootstrap(suite: str, tarball: Path) -> None:
    """Write a Debian root of ``suite`` to ``tarball``. Raises InfrastructureError with the first cause."""
    done = subprocess.run(
        [*RECIPE, suite, str(tarball)], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").splitlines()
        # The first complaint is the cause; those after it follow from it.
        cause = next((line for line in lines if line.startswith("E: ")), f"exit status {done.returncode}")
        raise InfrastructureError(
            f"mmdebstrap could not bootstrap Debian {suite}: {cause}",
            hint="it needs root or user namespaces, and a Debian mirror",
            detail="\n".join(lines[-15:]),
        )
