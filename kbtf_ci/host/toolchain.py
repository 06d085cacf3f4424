# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The toolchain of this machine: its programs and their versions, and a runner of commands."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.host.needs import NEEDS, Found, Need, examine
from kbtf_ci.host.programs import own_runner
from kbtf_ci.host.runner import search_path
from kbtf_ci.infra.runner import Runner

_SOURCES = Path("/usr/src")


@dataclass(frozen=True)
class HostToolchain:
    """The version of each program and of each package of a kernel's source, and a runner."""

    packages: Mapping[str, str]
    runner: Runner


def ensure(cache: Path) -> HostToolchain:
    """Return this machine's toolchain; our own programs are made in ``cache`` where they are not installed.

    Raises InfrastructureError with a line for each program that is missing or too old.
    """
    found = require(NEEDS)
    versions = {one.need.name: one.version for one in found if one.version}
    return HostToolchain({**versions, **_source_packages()}, own_runner(versions, cache))


def require(needs: Sequence[Need]) -> tuple[Found, ...]:
    """Return what is there of ``needs``. Raises InfrastructureError as ``ensure``."""
    found = examine(search_path(), needs)
    faults = [one for one in found if one.bars]
    if faults:
        packages = " ".join(dict.fromkeys(one.need.package for one in faults))
        lines = [one.fault for one in faults]
        many = f"--engine host: {len(lines)} programs are missing or too old"
        raise InfrastructureError(
            f"--engine host: {lines[0]}" if len(lines) == 1 else many,
            hint=f"apt-get install {packages}",
            detail="" if len(lines) == 1 else "\n".join(lines),
        )
    return found


def _source_packages() -> dict[str, str]:
    """Return the packages that brought the tarballs of kernels' sources, with their versions."""
    tarballs = sorted(_SOURCES.glob("linux-source-*.tar.xz"))
    names = [path.name.removesuffix(".tar.xz") for path in tarballs]
    return {name: version for name in names if (version := _version_of(name))}


def _version_of(package: str) -> str:
    try:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
