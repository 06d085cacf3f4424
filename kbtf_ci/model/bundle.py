# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A bundle: one module's BTF and the kernel that it was put before, with what that kernel said. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from kbtf_ci.model.outcome import Outcome

SCHEMA: Final = "kbtf-ci/bundle/1"
# What is in it, and no more; MANIFEST has the SHA-256 of each of the others.
MANIFEST: Final = "bundle.json"
KERNEL, CONFIG, CARRIER, BASE = "kernel", "kernel.config", "module.ko", "base.btf"
INITRAMFS, EXPECTED, LOG, DIAGNOSIS = "initramfs.cpio", "expected.txt", "kernel.log", "diagnosis.txt"
SCRIPT, READ_ME = "boot.sh", "README.txt"
MEMBERS: Final = (
    MANIFEST, READ_ME, SCRIPT, EXPECTED, DIAGNOSIS, LOG, CONFIG, CARRIER, BASE, KERNEL, INITRAMFS,
)  # fmt: skip

# The verdicts that a module's BTF alone decides: a bundle has no code of the module's.
OF_BTF: Final = frozenset({Outcome.VERIFIED, Outcome.REJECTED, Outcome.DROPPED, Outcome.MISMATCH})
# A module's name as it stands in commands of the guest: the kernel's own are of these.
NAME: Final = re.compile(r"[A-Za-z0-9_.+-]{1,56}")
ABSENT: Final = "absent"
# What the guest begins its lines with, and the last of them.
MARK: Final = "kbtf-ci: bundle "
END: Final = "end"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class BundledModule(_Value):
    """The module: ``file`` is its path below the folder of modules, sizes are in bytes."""

    name: str = Field(pattern=rf"^{NAME.pattern}$")
    file: str
    btf_bytes: int
    btf_sha256: str


class BundledKernel(_Value):
    """The kernel, and what made it; "" for what is not known."""

    release: str
    architecture: str
    config_sha256: str = ""
    pahole: str = ""
    compiler: str = ""


class Bundle(_Value):
    """bundle.json. ``errno`` is positive, 0 for none; ``sysfs_sha256`` "" where nothing is there.

    ``log`` are the kernel's lines on the module's BTF, ``digests`` the SHA-256 of every other member.
    """

    kbtf_ci: str
    module: BundledModule
    kernel: BundledKernel
    outcome: Outcome
    errno: int = 0
    sysfs_sha256: str = ""
    log: tuple[str, ...] = ()
    memory_mib: int = Field(ge=64, le=65536)
    digests: dict[str, str]
    schema_: Literal["kbtf-ci/bundle/1"] = Field(alias="schema")

    @property
    def seen(self) -> Seen:
        """What a kernel that does the same says."""
        return Seen(self.errno, self.sysfs_sha256, self.log)


@dataclass(frozen=True)
class Seen:
    """What a kernel said of the module: ``sysfs_sha256`` "" where ``/sys/kernel/btf`` does not have it."""

    errno: int
    sysfs_sha256: str
    log: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield it as the guest prints it, but for MARK."""
        yield f"errno {self.errno}"
        yield f"sysfs {self.sysfs_sha256 or ABSENT}"
        yield from (f"log {line}" for line in self.log)

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Seen:
        """Return what lines() says, or a guest. Raises ValueError where it is not whole."""
        errno, sysfs, log = None, None, []
        for line in lines:
            word, _, rest = line.partition(" ")
            if word == "errno":
                errno = int(rest)
            elif word == "sysfs":
                sysfs = rest
            elif word == "log":
                log.append(rest)
        if errno is None or sysfs is None:
            raise ValueError("the guest said nothing of the module")
        return cls(errno, "" if sysfs == ABSENT else sysfs, tuple(log))


def differences(recorded: Seen, seen: Seen) -> Iterator[str]:
    """Yield in what a kernel did otherwise than was recorded, a line each."""
    if seen.errno != recorded.errno:
        yield f"errno {seen.errno} where {recorded.errno} was recorded"
    if seen.sysfs_sha256 != recorded.sysfs_sha256:
        there, before = seen.sysfs_sha256 or ABSENT, recorded.sysfs_sha256 or ABSENT
        yield f"/sys/kernel/btf: {there} where {before} was recorded"
    if seen.log != recorded.log:
        yield "other lines on the module's BTF in the kernel's log"
