# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a make spent on what, in accounts that programs of the image keep (containers/accounts.h)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.runner import Command, Mount

_PROGRAM = "/usr/bin/kbtf-ci-account"
_RESOLVE_BTFIDS = "/usr/lib/kbtf-ci/accounted/resolve_btfids"
_FOLDER = "/btf-accounts"
_LOG = "calls"
_KINDS = frozenset({"make", "link", "ids", "base", "off", "hit", "miss", "server", "serve"})
_ROUTES = frozenset({"", "served", "fallback"})


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

    def keep(self, command: Command) -> Command:
        """Return the command with what its programs need to keep them."""
        return replace(
            command,
            mounts=(*command.mounts, *self.mounts),
            env={**command.env, **self.environment},
        )

    def launch(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command line that runs ``argv`` and enters it in the accounts, as kind ``make``."""
        return (_PROGRAM, *argv)


@dataclass(frozen=True)
class Call:
    """One program's end: times in seconds, memory in KiB; they include what it started.

    ``kind`` is ``make``; ``link`` (ld) and ``ids`` (resolve_btfids); of pahole ``base`` (vmlinux), ``off`` (a
    module, no cache), ``hit`` and ``miss``; ``server`` is the start of a server, ``serve`` what that spent on
    a module. ``subject`` is the file that it worked on. ``route`` is "" for a pahole of its own, ``served``,
    or ``fallback`` where no server would do it.
    """

    kind: str
    subject: str
    user_s: float
    system_s: float
    wall_s: float
    peak_kib: int
    route: str = ""

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s

    @property
    def outside(self) -> bool:
        """Whether no process that make waited for spent it."""
        return self.kind in {"server", "serve"}

    @property
    def of_module(self) -> bool:
        """Whether it was for a module, or for modules, rather than for vmlinux."""
        return self.subject.endswith(".ko") or self.kind == "server"


def read_accounts(folder: Path) -> tuple[Call, ...]:
    """Return the calls that were told of in ``folder``, in the order of their ends.

    Raises InfrastructureError for a line that is not whole, as a full disk leaves one, and the next program
    goes on behind it: without that call every sum would be too small, and look like any other.
    """
    path = folder / _LOG
    if not path.exists():
        return ()
    *lines, rest = path.read_text(errors="replace").split("\n")  # a name may hold what else ends a line
    if rest:
        raise _not_whole(rest)
    return tuple(_call(line) for line in lines)


def _call(line: str) -> Call:
    try:
        kind, subject, *numbers = line.split("\t")
        user, system, wall, peak = (int(number) for number in numbers)
    except ValueError as error:
        raise _not_whole(line) from error
    kind, _, route = kind.partition("+")
    if kind not in _KINDS or route not in _ROUTES:
        raise _not_whole(line)
    return Call(kind, subject, user / 1e6, system / 1e6, wall / 1e6, peak, route)


def _not_whole(line: str) -> InfrastructureError:
    return InfrastructureError(
        f"what make spent was not written down whole: {line[:200]!r}",
        hint="see that the build directory's disk is not full",
    )
