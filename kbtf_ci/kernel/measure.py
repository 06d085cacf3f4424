# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One make on a finished build: which modules it linked and wrote BTF of, and what it cost."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kbtf_ci.errors import BuildError, InfrastructureError, KbtfError
from kbtf_ci.infra.runner import Command, Completed, Mount, run
from kbtf_ci.kernel.accounts import Accounts, Call, read_accounts
from kbtf_ci.kernel.btfcache import Wrapper
from kbtf_ci.kernel.diagnostics import SIGNALLED, Diagnostics
from kbtf_ci.kernel.kbuild import BUILD, Kbuild
from kbtf_ci.kernel.unfinished import making
from kbtf_ci.model.regeneration import Ran, Usage

_LINKED = re.compile(r"^  LD \[M\] +(\S+\.ko)$", re.MULTILINE)
_WRITTEN = re.compile(r"^  BTF \[M\] +(\S+\.ko)$", re.MULTILINE)
# 7.2 links vmlinux.unstripped first (scripts/Makefile.vmlinux).
_VMLINUX = re.compile(r"^  LD +vmlinux(?:\.unstripped)?$", re.MULTILINE)
_TAIL = 2000
_BTF = frozenset({"base", "off", "hit", "miss", "ids", "server", "serve"})


@dataclass(frozen=True)
class MakeOverrides:
    """How make is called besides: ``mounts`` that change what it sees, and the pahole behind the wrapper."""

    mounts: tuple[Mount, ...] = ()
    pahole: str = ""


def measure(kbuild: Kbuild, overrides: MakeOverrides, on_line: Callable[[str], None]) -> Ran:
    """Run ``make all`` and return what it did; ``on_line`` gets the newest line whenever output comes.

    The wrapper stands before pahole in any case, with the cache that ``kbuild`` has, if any. Raises
    BuildError when make fails, InfrastructureError for a full disk or a killed program.
    """
    with tempfile.TemporaryDirectory(dir=kbuild.build_dir, prefix=".kbtf-ci-accounts-") as folder:
        command = _command(kbuild, Accounts(Path(folder), BUILD), overrides)
        with making(kbuild.build_dir):
            done = run(kbuild.runner, command, _Newest(on_line).feed)
            if done.status > SIGNALLED:
                raise _failed(kbuild, done)
        if done.status != 0:
            raise _failed(kbuild, done)
        return parse(done.text, read_accounts(Path(folder)))


def _failed(kbuild: Kbuild, done: Completed) -> KbtfError:
    found = Diagnostics(done.text)
    return found.machine_fault(done.status, kbuild.build_dir) or BuildError(
        f"make failed in {kbuild.build_dir}: {found.first_error}", detail=done.text[-_TAIL:]
    )


def parse(text: str, calls: Sequence[Call]) -> Ran:
    """Return what make's output and the wrapper's accounts say.

    Raises InfrastructureError when the accounts do not hold make itself.
    """
    make = next((call for call in calls if call.kind == "make"), None)
    if make is None:
        raise InfrastructureError(f"make's cost was not told: {text.strip()[-300:]}")
    btf = [call for call in calls if call.kind in _BTF]
    links = [call for call in calls if call.kind == "link"]
    outside = [call for call in calls if call.outside]
    return Ran(
        linked=frozenset(_LINKED.findall(text)),
        written=frozenset(_WRITTEN.findall(text)),
        vmlinux=_VMLINUX.search(text) is not None,
        usage=Usage(
            wall_s=make.wall_s,
            user_s=make.user_s + sum(call.user_s for call in outside),
            system_s=make.system_s + sum(call.system_s for call in outside),
            peak_kib=max(call.peak_kib for call in (make, *outside)),
            base_cpu_s=_cpu(btf, of_module=False),
            modules_cpu_s=_cpu(btf, of_module=True),
            base_link_cpu_s=_cpu(links, of_module=False),
            modules_link_cpu_s=_cpu(links, of_module=True),
            hits=sum(call.kind == "hit" for call in btf),
            misses=sum(call.kind == "miss" for call in btf),
            served=sum(call.route == "served" for call in btf),
            modules_ids_cpu_s=_cpu([call for call in btf if call.kind == "ids"], of_module=True),
            fallbacks=sum(call.route == "fallback" for call in btf),
        ),
    )


def _command(kbuild: Kbuild, accounts: Accounts, overrides: MakeOverrides) -> Command:
    wrapped = replace(kbuild, wrapper=kbuild.wrapper or Wrapper())
    command = accounts.keep(
        wrapped.command(accounts.launch(wrapped.argv("all", *accounts.variables)), "measure")
    )
    other = {"KBTF_CI_PAHOLE": overrides.pahole} if overrides.pahole else {}
    return replace(command, mounts=(*command.mounts, *overrides.mounts), env={**command.env, **other})


def _cpu(calls: Sequence[Call], *, of_module: bool) -> float:
    return sum(call.cpu_s for call in calls if call.of_module is of_module)


class _Newest:
    """Takes output in pieces, which end anywhere, and tells the last whole line of each."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if lines:
            self._on_line(" ".join(lines[-1].decode(errors="replace").split()))
