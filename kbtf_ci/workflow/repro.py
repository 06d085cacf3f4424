# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The catalogue of failures, run: each case put before a kernel, and its word held against the catalogue's.

All cases that alter a module share one guest, in which the untouched module is loaded first. Each case that
alters vmlinux's BTF boots an image with that in it, and loads the untouched module there.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kbtf_ci.btf.cases.case import Case
from kbtf_ci.btf.format.difference import first_difference
from kbtf_ci.btf.usable.programs import program_kinds
from kbtf_ci.errors import ExitCode, GuestError, InfrastructureError, UsageError
from kbtf_ci.guest.carriers import write_archive
from kbtf_ci.guest.image import EarlyModule
from kbtf_ci.guest.prove import FentryProver, Named, Prover, Provers
from kbtf_ci.guest.prove_kfunc import KfuncProver
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import KMSG_LOG, Listener, observe
from kbtf_ci.infra.profiles import profile_of
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.rundir import RunDirectory, write_json
from kbtf_ci.infra.runner import Runner
from kbtf_ci.infra.runs import Run, begun, new_run, old_run
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.model.case import Need, Traits
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.model.kfunc_proof import KfuncState
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.outcome import LoadPolicy, Observation
from kbtf_ci.model.proof import ModuleProof
from kbtf_ci.model.repro import CaseResult, exit_code
from kbtf_ci.model.run_record import GuestProfile
from kbtf_ci.objfile.inventory import inventory
from kbtf_ci.objfile.other_btf import btf_in_image
from kbtf_ci.report import repro as report
from kbtf_ci.workflow.guests import GuestFactory, GuestOptions, bootable
from kbtf_ci.workflow.preparation import prepared
from kbtf_ci.workflow.proof import fentry_prover
from kbtf_ci.workflow.trial import Bench, Load, Seen, Trial, Unbuilt
from kbtf_ci.workflow.workshop import Shop
from kbtf_ci.workflow.workspace import guest_tools, kernel_of_build, open_build, toolchain

_STAMP = re.compile(r"\[ *\d+\.\d+\] ")


@dataclass(frozen=True)
class Reproduced:
    """What came of the cases on one kernel; ``subject`` is the module that they are made of."""

    kernel: KernelFacts
    traits: Traits
    subject: str
    accel: str
    results: tuple[CaseResult, ...]
    seconds: float

    @property
    def exit_code(self) -> ExitCode:
        """0 when every case that applies is ok, else 1."""
        return exit_code(self.results)

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self._head, self.results)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return report.document(self._head, self.results)

    @property
    def _head(self) -> report.Head:
        return report.Head(
            self.kernel, self.traits.allows_mismatch, self.subject, self.accel, round(self.seconds, 1)
        )


@dataclass(frozen=True)
class _Visit:
    """What one guest is for: the modules, and the trials for which BPF programs are tried on some.

    ``vmlinux`` is the BTF of another vmlinux that boots, None for the kernel's own.
    """

    name: str
    loads: Sequence[Load]
    vmlinux: bytes | None = None
    tried: Sequence[Trial] = ()


@dataclass(frozen=True)
class _Programs:
    """The BPF programs of a visit; None for none."""

    fentry: FentryProver | None = None
    kfunc: KfuncProver | None = None

    @classmethod
    def of(cls, visit: _Visit, bench: Bench) -> _Programs:
        """Return those that its trials ask for."""
        functions = {one.load.module.name: one.functions for one in visit.tried if one.functions}
        if not functions:
            return cls()
        vmlinux, config = bench.healthy.vmlinux, bench.kernel.config
        kfuncs = {one.load.module.name: one.kfuncs for one in visit.tried}
        return cls(
            fentry_prover(vmlinux, functions, config), KfuncProver(kfuncs, program_kinds(vmlinux), config)
        )

    @property
    def prover(self) -> Prover | None:
        """What a guest is given, whose modules it does not take for loaded with their code."""
        if self.fentry is None or self.kfunc is None:
            return None
        return Named(Provers([self.kfunc, self.fentry]), tuple(self.fentry.functions))

    def tell(self, seen: Seen) -> None:
        """Put what they came to into what the guest said."""
        if self.fentry is None or self.kfunc is None:
            return
        seen.misdescribed = {one.module: _misdescribed(one) for one in self.fentry.found}
        for one in self.kfunc.found:
            if one.seen is KfuncState.REFUSED:
                names = seen.uncallable.get(one.kfunc.owner, ())
                seen.uncallable[one.kfunc.owner] = (*names, one.kfunc.name)
        ends = (self.fentry.cannot, self.fentry.ended, self.kfunc.cannot, self.kfunc.ended)
        seen.error = next((text for text in ends if text), "")


@dataclass(frozen=True)
class _Guests:
    """The guests of one call, one after the other, and where their logs go."""

    bench: Bench
    options: GuestOptions
    runner: Runner
    accel: Accel
    root: bytes
    early: tuple[EarlyModule, ...]
    scratch: Path
    logs: Path
    reporter: Reporter

    def run(self, visit: _Visit) -> Seen:
        """Load modules in a guest, in their order, and try programs on functions.

        What ends the guest is in what it returns. Raises InfrastructureError for what is not the kernel's
        doing.
        """
        folder, logs = self.scratch / visit.name, self.logs / visit.name
        for one in (folder, logs):
            one.mkdir(parents=True, exist_ok=True)
        seen = Seen()
        began = time.monotonic()
        try:
            self._observe(folder, logs, visit, seen)
        except GuestError as error:
            seen.error = error.message
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # each has an image of its own
        seen.seconds = time.monotonic() - began
        seen.log = tuple(_STAMP.sub("", line, count=1) for line in _lines(logs / KMSG_LOG))
        return seen

    def _observe(self, folder: Path, logs: Path, visit: _Visit, seen: Seen) -> None:
        btf, loads = self.bench.opened.file.btf, visit.loads
        boots = self._boots(folder, visit.vmlinux)
        factory = GuestFactory(
            self.bench.kernel, self.options, self.runner, RunDirectory(folder), boots, self.root, btf
        )
        archive = write_archive(folder / "cases.cpio", [(one.module, one.data) for one in loads])
        spec = factory.with_archive(archive, self.early)
        if visit.vmlinux is not None:
            spec = replace(spec, packed=None)  # which holds the healthy one

        def observed(one: Observation) -> None:
            seen.observations[one.name] = one
            if visit.vmlinux is None:
                self.reporter.progress(one.name, len(seen.observations), len(loads))

        def read(found: bytes) -> None:
            seen.difference = first_difference(btf, found) if found else "it is not there"

        programs = _Programs.of(visit, self.bench)
        listener = Listener(
            observed, lambda *_: None, self.reporter.warn, vmlinux_read=read, prover=programs.prover
        )
        modules = [one.module for one in loads]
        ran = observe(
            self.runner, spec, modules, LoadPolicy.CARRIER, logs=logs, listener=listener, accel=self.accel
        )
        seen.accel = ran.accel.value
        programs.tell(seen)

    def _boots(self, folder: Path, vmlinux: bytes | None) -> Path:
        """Return the file to boot; of another BTF of vmlinux, which is as long, an image with that in it."""
        if vmlinux is None:
            return bootable(self.bench.opened, folder)
        image = btf_in_image(self.bench.opened)
        if image is None:
            raise InfrastructureError("vmlinux's BTF lies packed in the image")
        path = folder / "altered"
        path.write_bytes(image.with_other(vmlinux))
        return path


def _misdescribed(proof: ModuleProof) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.function for one in proof.differences))


def _lines(path: Path) -> list[str]:
    # Split at newlines alone: a name in the log may hold what str.splitlines() takes for one.
    return path.read_text(encoding="utf-8").split("\n") if path.is_file() else []


def reproduce(path: Path, cases: Sequence[Case], options: GuestOptions, reporter: Reporter) -> Reproduced:
    """Try ``cases`` on the kernel of a run directory, and keep what came of them in its repro.json.

    Raises UsageError when the folder holds no run or its kernel no module that cases can be made of,
    KbtfError for whatever fails before the guests.
    """
    with old_run(path, reporter) as this, _its_build(this, cases, reporter) as (build, lacking):
        reporter.stage("toolchain")
        kernel = this.directory.kernel_of(this.record.run)
        runner = guest_tools(toolchain(this.record.run.suite, reporter), kernel, reporter).runner
        with this.directory.scratch() as scratch:
            shop = Shop(runner, scratch, build, lacking)
            return _reproduce(this, kernel, shop, cases, options)


def reproduce_build(
    build: BuildOptions, output: Path | None, cases: Sequence[Case], options: GuestOptions, reporter: Reporter
) -> Reproduced:
    """Try ``cases`` on a finished build, in a run directory of their own.

    Raises UsageError when there is no such build, and what reproduce() raises.
    """
    with open_build(build, reporter) as kbuild:
        begin = begun("", build, GuestProfile(name=f"{profile_of(build).name}-repro"))
        with new_run(output, begin, reporter) as this, this.directory.scratch() as scratch:
            shop = Shop(kbuild.runner, scratch, kbuild)
            return _reproduce(this, kernel_of_build(kbuild), shop, cases, options)


@contextmanager
def _its_build(this: Run, cases: Sequence[Case], reporter: Reporter) -> Iterator[tuple[Kbuild | None, str]]:
    """Give the build that a run came from, held for this command, or else why there is none.

    Where no case needs it, it is left to others.
    """
    record = this.record.run
    with ExitStack() as held:
        try:
            options = record.build_options
        except ValueError as error:
            yield None, f"needs the build that the kernel came from: {error}"
            return
        if not any(Need.TREE in case.needs for case in cases):
            yield None, "its build was not asked for"
            return
        try:
            build = held.enter_context(open_build(options, reporter, record))
        except UsageError as error:
            yield None, error.message
            return
        yield build, ""


def _reproduce(
    this: Run, kernel: BuiltKernel, shop: Shop, cases: Sequence[Case], options: GuestOptions
) -> Reproduced:
    began = time.monotonic()
    reporter, machine = this.reporter, machine_of(kernel.architecture, kernel.origin)
    with prepared(shop.runner, options.accel, machine, reporter) as preparation:
        reporter.stage("cases")
        bench = Bench.of(kernel)
        for text in bench.doubts():
            reporter.warn(text)
        early = _early(kernel, options, shop.runner, this)
        made = []
        for one in bench.prepare(cases, shop, needs_modules=bool(early)):
            made.append(one)
            reporter.progress("", len(made), len(cases))
        root, accel = preparation.root(), preparation.accel()
    logs = this.directory.file("repro")
    guests = _Guests(bench, options, shop.runner, accel, root, early, shop.scratch, logs, reporter)
    results, used = _run(bench, made, guests)
    found = Reproduced(
        kernel.facts, bench.traits, bench.healthy.name, used, results, time.monotonic() - began
    )
    write_json(this.directory.file("repro.json"), found.document())
    return found


def _early(kernel: BuiltKernel, options: GuestOptions, runner: Runner, this: Run) -> tuple[EarlyModule, ...]:
    """Return the modules without which this kernel's guest has no network."""
    if kernel.builtin is None:
        return ()
    factory = GuestFactory(kernel, options, runner, this.directory, kernel.image, b"")
    listed = inventory(kernel.modules, kernel.skipped_btf, kernel.files)
    return factory.early_modules([module for module in listed.modules if not module.fault])


def _run(
    bench: Bench, made: Sequence[Trial | Unbuilt | CaseResult], guests: _Guests
) -> tuple[tuple[CaseResult, ...], str]:
    """Run the guests, and return each case's result in the order of ``made``, and what they ran in."""
    tried = [one for one in made if isinstance(one, Trial)]
    failed = [one for one in made if isinstance(one, Unbuilt)]
    if not tried and not failed:
        return tuple(one for one in made if isinstance(one, CaseResult)), ""
    shared = [one for one in tried if one.vmlinux is None]
    guests.reporter.stage("modules")
    guests.reporter.note(f"{len(shared)} cases made of {bench.healthy.name}, which is loaded before them")
    controls = {one.control.module.name: one.control for one in tried} | {
        bench.control.module.name: bench.control
    }
    loads = [*controls.values(), *(one.load for one in shared)]
    seen = guests.run(_Visit("modules", loads, tried=shared))
    if seen.accel:
        guests = replace(guests, accel=Accel(seen.accel))  # what the first of them came to
    results = {one.case.name: bench.judged(one, seen, seen) for one in shared}
    results |= {one.case.name: bench.unbuilt(one, seen) for one in failed}
    results |= _boots(bench, tried, guests, seen)
    return tuple(one if isinstance(one, CaseResult) else results[one.case.name] for one in made), seen.accel


def _boots(bench: Bench, tried: Sequence[Trial], guests: _Guests, shared: Seen) -> dict[str, CaseResult]:
    """Boot each vmlinux that was altered; return each case's result, beside what the shared guest said."""
    altered = [(one, one.vmlinux) for one in tried if one.vmlinux is not None]
    if altered:
        guests.reporter.stage("vmlinux")
    results = {}
    for number, (one, vmlinux) in enumerate(altered):
        guests.reporter.progress(one.case.name, number, len(altered))
        own = guests.run(_Visit(one.case.name, [one.load], vmlinux))
        results[one.case.name] = bench.judged(one, own, shared)
    return results
