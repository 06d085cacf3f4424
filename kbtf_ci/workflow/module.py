# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci module``: an out-of-tree module built with a distribution's headers, and loaded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from kbtf_ci.btf.cases.edit import enlarged
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.errors import BuildError, ExitCode, KbtfError, UsageError, file_error
from kbtf_ci.infra import rundir
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.runner import Completed
from kbtf_ci.kernel.diagnostics import Diagnostics
from kbtf_ci.kernel.headers import HeadersMake, unpack_headers
from kbtf_ci.kernel.prebuilt import check_named, find
from kbtf_ci.model.extmod import BuiltModule, Way, WayResult, exit_code
from kbtf_ci.model.options import PrebuiltOptions
from kbtf_ci.objfile.depmod import is_extra
from kbtf_ci.objfile.files import open_kernel
from kbtf_ci.report import extmod as report
from kbtf_ci.workflow import prebuilt
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.verdict import Verdict
from kbtf_ci.workflow.workspace import toolchain

_NOTHING: Final = Path("/dev/null")
# What an earlier make left in the user's folder: it may be of another kernel.
_MADE: Final = ("*.o", "*.ko", "*.mod", "*.mod.c", ".*.cmd", "Module.symvers", "modules.order", ".git")
_ON_BTF: Final = ("BTF", "pahole", "vmlinux")


@dataclass(frozen=True)
class ModuleOptions:
    """The module's folder, the kernel, its headers, and the ways; ``vmlinux`` is what WRONG is built against.

    None for a ``vmlinux`` made up, ``pahole`` is one of this machine's, None for the image's.
    """

    folder: Path
    kernel: PrebuiltOptions
    headers: tuple[Path, ...]
    ways: tuple[Way, ...] = tuple(Way)
    vmlinux: Path | None = None
    pahole: Path | None = None


@dataclass(frozen=True)
class Tried:
    """What came of each way on the kernel of this release."""

    release: str
    results: tuple[WayResult, ...]

    @property
    def exit_code(self) -> ExitCode:
        """1 where a module is not VERIFIED in a way that should do, else 0."""
        return exit_code(self.results)

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self.release, self.results)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return report.document(self.release, self.results)


def try_module(
    options: ModuleOptions, guest: GuestOptions, output: Path | None, command: str, reporter: Reporter
) -> Tried:
    """Build the modules of a folder in each way and load them, with what they need, each in a guest.

    The folder is only read. ``output`` gets a run directory for each way. Raises UsageError for headers of
    another kernel or a folder that is none of a module, BuildError with make's first error.
    """
    _check(options)
    reporter.stage("toolchain")
    runner = toolchain(options.kernel.suite, reporter).runner
    if not runner.contained:
        raise UsageError(
            "a distribution's headers name each other by their places in /usr, which only a container has",
            hint="use --engine container",
        )
    reporter.stage("unpack")
    cache = cache_root() / "packages"
    unpacked = partial(reporter.progress, "packages")
    kernel = find(options.kernel.kernel, options.kernel.modules, cache, runner, unpacked)
    headers = unpack_headers(options.headers, cache, runner, unpacked)
    if headers.release != kernel.release:
        raise UsageError(f"--headers: of {headers.release}, but the kernel is {kernel.release}")
    folder = rundir.new_folder(output, "module")
    btf = open_kernel(kernel.image).file.btf
    results = []
    for way in options.ways:
        reporter.stage(f"build, vmlinux {way}")
        with _built(options, way, HeadersMake(headers, runner, options.pahole), btf) as (files, lines):
            extra = replace(guest, extra=files, extra_only=True)
            verdict = prebuilt.verify(options.kernel, extra, folder / way, command, reporter)
        if verdict.error is not None:
            raise verdict.error
        results.append(WayResult(way, lines, tuple(_modules(verdict)), str(folder / way)))
    return Tried(kernel.release, tuple(results))


def _check(options: ModuleOptions) -> None:
    check_named(options.kernel.kernel)
    if not any((options.folder / name).is_file() for name in ("Kbuild", "Makefile")):
        raise UsageError(f"{options.folder}: neither a Kbuild nor a Makefile in it")


@contextmanager
def _built(
    options: ModuleOptions, way: Way, make: HeadersMake, btf: bytes
) -> Iterator[tuple[tuple[Path, ...], tuple[str, ...]]]:
    """Give the modules as they were built in a copy of their folder, and make's lines on BTF."""
    scratch = cache_root() / "build"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".module-") as name:
        work, beside = Path(name) / "work", Path(name) / "vmlinux"
        try:
            shutil.copytree(options.folder, work, symlinks=True, ignore=shutil.ignore_patterns(*_MADE))
        except (OSError, shutil.Error) as error:
            raise _not_copied(options.folder, error) from error
        done = make.module(work, _vmlinux(way, btf, options, beside), way.variables)
        files = tuple(sorted(work.rglob("*.ko")))
        if done.status != 0 or not files:
            raise _failed(options.folder, work, done)
        lines = tuple(line for line in done.text.splitlines() if any(word in line for word in _ON_BTF))
        yield files, lines


def _not_copied(folder: Path, error: OSError | shutil.Error) -> KbtfError:
    if isinstance(error, shutil.Error):
        return UsageError(f"{folder}: cannot be read: {error.args[0][0][-1]}")
    return file_error(error, folder, "cannot be copied")


def _vmlinux(way: Way, btf: bytes, options: ModuleOptions, beside: Path) -> Path:
    if way is Way.ABSENT:
        return _NOTHING
    if way is Way.WRONG and options.vmlinux is not None:
        return options.vmlinux
    # pahole and resolve_btfids take raw BTF for a vmlinux, as they do /sys/kernel/btf/vmlinux.
    beside.write_bytes(enlarged(Btf.parse(btf)) if way is Way.WRONG else btf)
    return beside


def _failed(folder: Path, work: Path, done: Completed) -> KbtfError:
    diagnostics = Diagnostics(done.text)
    if fault := diagnostics.machine_fault(done.status, work):
        return fault
    if done.status == 0:
        return UsageError(f"{folder}: make built no module in it", hint="its Kbuild names none as obj-m")
    return BuildError(f"{folder}: {diagnostics.first_error}", detail=done.text[-2000:])


def _modules(verdict: Verdict) -> Iterator[BuiltModule]:
    predictions = {one.name: one for one in verdict.predictions}
    for one in verdict.results:
        if is_extra(one.module.file):
            yield BuiltModule(one, predictions.get(one.module.name))
