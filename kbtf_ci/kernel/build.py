# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Run kbuild: compile, link, and let it write BTF; keep the log and count what was done."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kbtf_ci.errors import BuildError, InfrastructureError
from kbtf_ci.infra.runner import Process
from kbtf_ci.kernel.accounts import Accounts, Call, read_accounts
from kbtf_ci.kernel.diagnostics import SIGNALLED, Diagnostics
from kbtf_ci.kernel.kbuild import BUILD, Kbuild
from kbtf_ci.kernel.unfinished import making

# How often progress is told where there is no terminal, in seconds without output.
_HEARTBEAT_S = 30.0
# "  CC [M]  fs/xfs/xfs_aops.o": scripts/Kbuild.include, quiet_cmd_*.
_STEP = re.compile(r"^  ([A-Z][A-Z0-9_]*(?: \[M\])?) +(\S+)")
# All that is compiled is there then; vmlinux.o since 5.x, what follows where that is as it was.
_LINKS = re.compile(r"^  (?:LD +(?:vmlinux|\.tmp_vmlinux)|MODPOST )")
# Folders of a build directory that hold programs of the host alone, some of them made to configure it.
_NO_KERNEL = frozenset({"scripts", "tools"})
_SKIPPED_BTF = re.compile(r"^Skipping BTF generation for (\S+) (.*)$")


@dataclass(frozen=True)
class Progress:
    """How far make is: steps done so far and the newest one (``CC [M]``, ``fs/xfs/xfs_aops.o``).

    ``total`` is how many it is expected to make, None where that is not known.
    """

    steps: int
    kind: str
    subject: str
    total: int | None = None


@dataclass(frozen=True)
class Built:
    """What kbuild made.

    ``steps`` counts its steps by kind as it prints them (``CC``, ``LD [M]``, ``BTF [M]``); ``skipped_btf``
    maps a module's path below the build directory to kbuild's reason for not writing its BTF. ``whole`` says
    that nothing was compiled there before. ``calls`` are those of a wrapper in pahole's place. ``seconds``
    tells what make took up to vmlinux's first link (``compile``) from what it took behind that (``link``),
    BTF and modules' links with it.
    """

    release: str
    image: Path
    vmlinux: Path
    system_map: Path
    modules: tuple[str, ...]
    steps: Mapping[str, int] = field(default_factory=dict)
    skipped_btf: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    calls: tuple[Call, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        kbuild: Kbuild,
        *,
        steps: Mapping[str, int] | None = None,
        skipped_btf: Mapping[str, str] | None = None,
        whole: bool = False,
        calls: tuple[Call, ...] = (),
        seconds: Mapping[str, float] | None = None,
    ) -> Built:
        """Return what lies in a build directory; without ``steps`` nothing was done to make it."""
        build_dir = kbuild.build_dir
        return cls(
            release=kbuild.release,
            image=build_dir / kbuild.target.image,
            vmlinux=build_dir / "vmlinux",
            system_map=build_dir / "System.map",
            modules=kbuild.modules,
            steps=dict(steps or {}),
            skipped_btf=dict(skipped_btf or {}),
            whole=whole,
            calls=calls,
            seconds=dict(seconds or {}),
        )

    @property
    def compiled(self) -> int:
        """The number of files compiled or assembled for the kernel or a module."""
        return sum(self.steps.get(kind, 0) for kind in ("CC", "CC [M]", "AS", "AS [M]"))


class _Log:
    """Splits make's output into lines, writes them to the log, and remembers what matters."""

    def __init__(self, path: Path, total: int | None) -> None:
        self._file = path.open("wb", buffering=0)
        self._total = total
        self._rest = b""
        self.steps: Counter[str] = Counter()
        self.skipped: dict[str, str] = {}
        self.newest = Progress(0, "", "", total)
        self._began = time.monotonic()
        self._linked: float | None = None
        self.diagnostics = Diagnostics()

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def feed(self, piece: bytes) -> None:
        self._file.write(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(line.decode(errors="replace"))

    def _line(self, line: str) -> None:
        if step := _STEP.match(line):
            self.steps[step[1]] += 1
            self.newest = Progress(self.steps.total(), step[1], step[2], self._total)
            if self._linked is None and _LINKS.match(line):
                self._linked = time.monotonic()
        elif skipped := _SKIPPED_BTF.match(line):
            self.skipped[skipped[1]] = line
        else:
            self.diagnostics.feed(line)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds before and behind vmlinux's first link, as Built has them; none without one."""
        if self._linked is None:
            return {}
        before, behind = self._linked - self._began, time.monotonic() - self._linked
        return {"compile": round(before, 1), "link": round(behind, 1)}


def check_disk(build_dir: Path, needed_mib: int) -> None:
    """Raise InfrastructureError when an empty ``build_dir`` has less room than ``needed_mib`` MiB."""
    free_mib = shutil.disk_usage(build_dir).free >> 20
    if not (build_dir / "vmlinux").exists() and free_mib < needed_mib:
        raise InfrastructureError(
            f"{build_dir}: {free_mib} MiB free, this build needs about {needed_mib} MiB",
            hint="make room, or point KBTF_CI_CACHE at another disk",
        )


def is_untouched(build_dir: Path) -> bool:
    """Return whether nothing of a kernel was compiled in ``build_dir``; Kconfig's programs are no kernel."""
    made = (path for pattern in ("vmlinux*", "*/*.o", "*/*.ko") for path in build_dir.glob(pattern))
    return all(path.parent.name in _NO_KERNEL for path in made)


def build(
    kbuild: Kbuild, log_path: Path, on_progress: Callable[[Progress], None], steps: int | None = None
) -> Built:
    """Run ``make all`` and return what it made; all output goes to ``log_path``.

    ``steps`` is how many it makes where nothing was compiled before, None where that is not known. Raises
    BuildError with the first compiler error, InfrastructureError for a full disk or a killed program.
    """
    with (
        tempfile.TemporaryDirectory(dir=kbuild.build_dir, prefix=".kbtf-ci-accounts-") as folder,
        making(kbuild.build_dir),
    ):
        command = kbuild.command(kbuild.argv("all"), "build")
        if kbuild.wrapper is not None:
            command = Accounts(Path(folder), BUILD).keep(command)
        # Asked for in here: what a killed make left is gone by now.
        whole = is_untouched(kbuild.build_dir)
        with _Log(log_path, steps if whole else None) as log, kbuild.runner.start(command) as process:
            _follow(process, log, on_progress)
            status = process.wait()
            seconds = log.seconds
            if status > SIGNALLED:
                _fail(kbuild, log, log_path, status)
        calls = read_accounts(Path(folder)) if status == 0 else ()
    if status != 0:
        _fail(kbuild, log, log_path, status)
    return Built.of(
        kbuild, steps=log.steps, skipped_btf=log.skipped, whole=whole, calls=calls, seconds=seconds
    )


def _follow(process: Process, log: _Log, on_progress: Callable[[Progress], None]) -> None:
    while True:
        try:
            piece = process.read(_HEARTBEAT_S)
        except TimeoutError:
            on_progress(log.newest)
            continue
        if not piece:
            return
        log.feed(piece)
        on_progress(log.newest)


def _fail(kbuild: Kbuild, log: _Log, log_path: Path, status: int) -> None:
    if fault := log.diagnostics.machine_fault(status, kbuild.build_dir, f" (log: {log_path})"):
        raise fault
    raise BuildError(
        f"the kernel did not build: {log.diagnostics.first_error}", hint=f"the whole log: {log_path}"
    )
