# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a make spent on what, in accounts that programs of the image keep (containers/accounts.h)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.infra.runner import Mount

_PROGRAM = "/usr/bin/kbtf-ci-account"
_RESOLVE_BTFIDS = "/usr/lib/kbtf-ci/accounted/resolve_btfids"
_FOLDER = "/btf-accounts"
_LOG = "calls"


@dataclass(frozen=True)
class Accounts:
    """Accounts kept in ``folder`` on the host, of a build in ``build_dir`` of the container."""

    folder: Path
    build_dir: str

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What they are written to."""
        return (Mount(self.folder, _FOLDER, writable=True),)

    @property
    def variables(self) -> tuple[str, ...]:
        """Make's variables. Neither is in a command line that kbuild remembers."""
        return (f"RESOLVE_BTFIDS={_RESOLVE_BTFIDS}",)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of the environment."""
        resolver = f"{self.build_dir}/tools/bpf/resolve_btfids/resolve_btfids"
        return {"KBTF_CI_ACCOUNTS": f"{_FOLDER}/{_LOG}", "KBTF_CI_RESOLVE_BTFIDS": resolver}

    def launch(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command line that runs ``argv`` and enters it in the accounts, as kind ``make``."""
        return (_PROGRAM, *argv)


@dataclass(frozen=True)
class Call:
    """One program's end: times in seconds, memory in KiB; they include what it started.

    ``kind`` is ``make``; ``link`` (ld) and ``ids`` (resolve_btfids); of pahole ``base`` (vmlinux), ``off`` (a
    module, no cache), ``hit`` and ``miss``. ``subject`` is the file that it worked on.
    """

    kind: str
    subject: str
    user_s: float
    system_s: float
    wall_s: float
    peak_kib: int

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s

    @property
    def of_module(self) -> bool:
        """Whether it worked on a module rather than on vmlinux."""
        return self.subject.endswith(".ko")


def read_accounts(folder: Path) -> tuple[Call, ...]:
    """Return the calls that were told of in ``folder``, in the order of their ends."""
    path = folder / _LOG
    if not path.exists():
        return ()
    lines = path.read_text(errors="replace").split("\n")  # a name may hold what else ends a line
    return tuple(_call(line) for line in lines if line)


def _call(line: str) -> Call:
    kind, subject, *numbers = line.split("\t")
    user, system, wall, peak = (int(number) for number in numbers)
    return Call(kind, subject, user / 1e6, system / 1e6, wall / 1e6, peak)
