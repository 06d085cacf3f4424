# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What guests of another architecture run in and are made of, of this machine's own programs."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.host.needs import Need
from kbtf_ci.host.runner import HostRunner, search_path
from kbtf_ci.host.toolchain import HostToolchain, require
from kbtf_ci.infra.locks import exclusive, keep_in_use, lock_of
from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.runner import Command, Mount, run
from kbtf_ci.model.machines.machine import MachineType

_PLACE: Final = "/usr/lib/kbtf-ci"
# A place stands for one of this machine's where it is a word of its own.
_MAKE: Final = 'exec sh "$1/guest/foreign" "$@"'


def needs(machine: MachineType) -> tuple[Need, ...]:
    """Return what this machine needs of others' programs for guests on ``machine``."""
    compiler = f"{machine.triplet}-gcc"
    return (
        Need(machine.qemu, (machine.qemu, "--version"), machine.package),
        Need(compiler, (compiler, "-dumpfullversion"), f"gcc-{machine.triplet.replace('_', '-')}"),
        # The guest's busybox and dropbear are Debian's.
        Need("apt-get", ("apt-get", "--version"), "apt"),
        Need("dpkg-deb", ("dpkg-deb", "--version"), "dpkg"),
    )


def ensure(machine: MachineType, suites: Sequence[str], cache: Path) -> HostToolchain:
    """Return a runner for guests on ``machine``, and the versions of what it stands on.

    The guest's own programs are of the first of ``suites`` that has them, and are kept in ``cache``. Raises
    InfrastructureError with a line for each program that is missing here.
    """
    versions = {one.need.name: one.version for one in require(needs(machine))}
    folder = cache / _key(machine, suites, versions)
    with exclusive(lock_of(folder)):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=".programs-", dir=cache) as staging:
                _make(machine, suites, Path(staging) / "made", folder)
    keep_in_use(folder)
    return HostToolchain(versions, HostRunner({_PLACE: folder}, search_path(folder / "bin")))


def _key(machine: MachineType, suites: Sequence[str], versions: Mapping[str, str]) -> str:
    sources = shipped("containers")
    files = sorted(path for path in sources.rglob("*") if path.is_file())
    known = [machine.name, list(suites), sorted(versions.items()), [path.read_bytes() for path in files]]
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def _make(machine: MachineType, suites: Sequence[str], staging: Path, folder: Path) -> None:
    staging.mkdir()
    mounts = (Mount(shipped("containers"), "/containers"), Mount(staging, "/out", writable=True))
    words = ("/containers", machine.architecture.debian, machine.triplet, "/out", *suites)
    done = run(HostRunner(), Command(("sh", "-c", _MAKE, "sh", *words), mounts, label="guest's programs"))
    if done.status != 0:
        raise InfrastructureError(
            f"the programs of a guest of {machine.name} could not be made (exit status {done.status})",
            hint=f"they need Debian's packages for {machine.architecture.debian}, "
            f"and libc6-dev-{machine.architecture.debian}-cross",
            detail="\n".join(done.text.splitlines()[-15:]),
        )
    staging.rename(folder)
