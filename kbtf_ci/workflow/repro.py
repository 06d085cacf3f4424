# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The catalogue of failures, run: each case put before a kernel, and its word held against the catalogue's.

All cases that alter a module share one guest, in which the untouched module is loaded first. Each case that
alters vmlinux boots it, by its entry for PVH, and loads the untouched module there.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from kbtf_ci.btf.cases.case import (
    Altered,
    AlteredBtf,
    AlteredFile,
    AlteredVmlinux,
    Case,
    Healthy,
    NotThereError,
    as_module,
)
from kbtf_ci.btf.format.difference import first_difference
from kbtf_ci.btf.predict.assess import Assessor, kernel_version
from kbtf_ci.btf.predict.kernel_btf import rules_of
from kbtf_ci.btf.predict.sweep import KernelSpec, predicted
from kbtf_ci.btf.rules.versions import doubt
from kbtf_ci.errors import ExitCode, GuestError, InfrastructureError
from kbtf_ci.guest.carriers import write_archive
from kbtf_ci.guest.image import EarlyModule
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import KMSG_LOG, Listener, observe
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.rundir import RunDirectory, write_json
from kbtf_ci.infra.runner import Runner
from kbtf_ci.infra.runs import Run, old_run
from kbtf_ci.model.case import Traits
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadPolicy, ModuleResult, Observation, Outcome, judge
from kbtf_ci.model.prediction import Prediction, disagreements
from kbtf_ci.model.repro import CaseResult, Observed, exit_code
from kbtf_ci.objfile.carrier import make_carrier
from kbtf_ci.objfile.elf import ElfImage, module_entry
from kbtf_ci.objfile.files import OpenKernel, boots_by_pvh, open_kernel, parse_module
from kbtf_ci.objfile.inventory import inventory
from kbtf_ci.report import repro as report
from kbtf_ci.workflow.guests import GuestFactory, GuestOptions, bootable
from kbtf_ci.workflow.preparation import prepared
from kbtf_ci.workflow.subject import find_subject
from kbtf_ci.workflow.workspace import toolchain

_MISMATCH: Final = "CONFIG_MODULE_ALLOW_BTF_MISMATCH"
_CONTROL: Final = "untouched"
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
class _Load:
    """A module that a guest is given: of a case, or the untouched one where ``case`` is None."""

    case: Case | None
    module: Module
    data: bytes
    moved: str = ""  # sha256 of what /sys/kernel/btf shall hold, where that is not the module's .BTF


@dataclass(frozen=True)
class _Tried:
    """A case that applies, and what of it."""

    case: Case
    load: _Load
    control: _Load
    prediction: Prediction
    vmlinux: bytes | None = None


@dataclass
class _Seen:
    """What one guest said."""

    observations: dict[str, Observation] = field(default_factory=dict)
    difference: str = ""
    log: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0
    accel: str = ""


@dataclass(frozen=True)
class _Bench:
    """A kernel on which cases are tried."""

    kernel: BuiltKernel
    opened: OpenKernel
    spec: KernelSpec
    traits: Traits
    healthy: Healthy

    @classmethod
    def of(cls, kernel: BuiltKernel) -> _Bench:
        """Read the kernel's image, and find the module that cases are made of."""
        opened = open_kernel(kernel.image)
        version = kernel_version("", opened.file)
        vmlinux = opened.vmlinux
        traits = Traits(
            version=version,
            allows_mismatch=kernel.config.get(_MISMATCH) == "y",
            pvh=vmlinux is not None and boots_by_pvh(vmlinux),
            livepatch=kernel.config.get("CONFIG_LIVEPATCH") == "y",
        )
        spec = KernelSpec(opened.file, rules_of(opened.file, version), kernel.config)
        return cls(kernel, opened, spec, traits, find_subject(kernel, opened.file))

    @cached_property
    def control(self) -> _Load:
        """The untouched module, by another name: what a guest has loaded by itself may be the same."""
        return _untouched(_CONTROL, make_carrier(self.healthy.file, name=_CONTROL))

    def prepare(self, cases: Iterable[Case], *, needs_modules: bool) -> Iterator[_Tried | CaseResult]:
        """Yield each case, made, or why it does not apply."""
        assessor = self.spec.assessor()
        for number, case in enumerate(cases, 1):
            reason = case.inapplicable(self.traits)
            try:
                altered = None if reason or case.make is None else case.make(self.healthy)
            except NotThereError as error:
                reason, altered = str(error), None
            if isinstance(altered, AlteredVmlinux) and needs_modules and not self.traits.allows_mismatch:
                reason = "its guest has no network without modules, which this kernel would refuse then"
            if altered is None or reason:
                yield self._result(case, inapplicable=reason)
            else:
                yield self._made(number, case, altered, assessor)

    def _made(self, number: int, case: Case, altered: Altered, assessor: Assessor) -> _Tried:
        name, data = as_module(case, altered, self.healthy)
        vmlinux = altered.btf if isinstance(altered, AlteredVmlinux) else None
        if vmlinux is not None:
            assessor = replace(self.spec, file=replace(self.spec.file, btf=vmlinux)).assessor()
        module = replace(module_entry(ElfImage(data), f"{number:03}-{case.name}.ko"), name=name)
        assessed = assessor.assess(parse_module(data, Path(module.file)))
        moved = altered.sysfs if isinstance(altered, AlteredBtf) else None
        load = _Load(case, module, data, hashlib.sha256(moved).hexdigest() if moved else "")
        control = self.control
        if isinstance(altered, AlteredFile):
            control = _untouched(altered.control_name, altered.control)
        return _Tried(case, load, control, predicted(assessed, assessor, siblings_have_btf=True), vmlinux)

    def _result(self, case: Case, **values: Any) -> CaseResult:
        expected = case.expected.under(self.traits)
        return CaseResult(case.name, case.failure_class, case.module, expected, **values)

    def judged(self, tried: _Tried, seen: _Seen, healthy: _Seen) -> CaseResult:
        """Return what came of a case in its guest; ``healthy`` is the one with the untouched modules."""
        control = _control_outcome(tried.control, healthy)
        observation = seen.observations.get(tried.load.module.name)
        values: dict[str, Any] = {"control": control, "prediction": tried.prediction, "broken": seen.error}
        if observation is not None:
            result = _judge(tried.load, observation)
            observed = _observed(result, observation, tried, seen)
            own = round(observation.load_us / 1_000_000, 3)
            values |= {
                "broken": "",
                "observed": observed,
                "differs": _differs(tried.prediction, result, observed),
                "seconds": own if tried.vmlinux is None else round(seen.seconds, 1),
            }
        return replace(self._result(tried.case, **values), module=tried.load.module.name)


def _untouched(name: str, data: bytes) -> _Load:
    return _Load(None, replace(module_entry(ElfImage(data), f"000-{name}.ko"), name=name), data)


def _judge(load: _Load, observation: Observation | None) -> ModuleResult:
    return judge(load.module, () if observation is None else (observation,), load.moved)


def _observed(result: ModuleResult, observation: Observation, tried: _Tried, seen: _Seen) -> Observed:
    """Return what was seen; of an altered vmlinux the kernel speaks once, at boot, and not in the load."""
    return Observed(
        outcome=result.outcome,
        errno=observation.errno,
        log=observation.log if tried.vmlinux is None else seen.log,
        sysfs=observation.sysfs_sha256 is not None,
        vmlinux_difference=seen.difference,
        reason=result.reason,
    )


def _differs(prediction: Prediction, result: ModuleResult, observed: Observed) -> bool:
    return (prediction.outcome, prediction.errno) != (observed.outcome, observed.errno) or bool(
        disagreements([prediction], [result])
    )


@dataclass(frozen=True)
class _Guests:
    """The guests of one call, one after the other, and where their logs go."""

    bench: _Bench
    options: GuestOptions
    runner: Runner
    accel: Accel
    root: bytes
    early: tuple[EarlyModule, ...]
    scratch: Path
    logs: Path
    reporter: Reporter

    def run(self, name: str, loads: Sequence[_Load], vmlinux: bytes | None = None) -> _Seen:
        """Load modules in a guest of the kernel, or of one with another BTF of vmlinux, in this order.

        What ends the guest is in what it returns. Raises InfrastructureError for what is not the kernel's
        doing.
        """
        folder, logs = self.scratch / name, self.logs / name
        logs.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        seen = _Seen()
        began = time.monotonic()
        try:
            self._observe(folder, logs, loads, vmlinux, seen)
        except GuestError as error:
            seen.error = error.message
        seen.seconds = time.monotonic() - began
        seen.log = tuple(_STAMP.sub("", line, count=1) for line in _lines(logs / KMSG_LOG))
        return seen

    def _observe(
        self, folder: Path, logs: Path, loads: Sequence[_Load], vmlinux: bytes | None, seen: _Seen
    ) -> None:
        btf = self.bench.opened.file.btf
        boots = self._boots(folder, vmlinux)
        factory = GuestFactory(
            self.bench.kernel, self.options, self.runner, RunDirectory(folder), boots, self.root, btf
        )
        archive = write_archive(folder / "cases.cpio", [(one.module, one.data) for one in loads])
        spec = factory.with_archive(archive, self.early)
        if vmlinux is not None:
            spec = replace(spec, packed=None)  # which holds the healthy one

        def observed(one: Observation) -> None:
            seen.observations[one.name] = one
            self.reporter.progress(f"{len(seen.observations)} of {len(loads)}, {one.name}")

        def read(found: bytes) -> None:
            seen.difference = first_difference(btf, found) if found else "it is not there"

        listener = Listener(observed, lambda *_: None, self.reporter.warn, vmlinux_read=read)
        modules = [one.module for one in loads]
        ran = observe(
            self.runner, spec, modules, LoadPolicy.CARRIER, logs=logs, listener=listener, accel=self.accel
        )
        seen.accel = ran.accel.value

    def _boots(self, folder: Path, vmlinux: bytes | None) -> Path:
        """Return the file to boot; of another BTF of vmlinux, which is as long, an image with that in it."""
        if vmlinux is None:
            return bootable(self.bench.opened, folder)
        image = self.bench.opened.vmlinux
        section = image.find(".BTF") if image is not None else None
        if image is None or section is None or section.size != len(vmlinux):
            raise InfrastructureError("an altered vmlinux's BTF is not as long as the image's")
        path = folder / "vmlinux"
        with path.open("wb") as file:
            file.write(image.data[: section.offset])
            file.write(vmlinux)
            file.write(image.data[section.offset + section.size :])
        return path


def _lines(path: Path) -> list[str]:
    # Split at newlines alone: a name in the log may hold what str.splitlines() takes for one.
    return path.read_text(encoding="utf-8").split("\n") if path.is_file() else []


def reproduce(path: Path, cases: Sequence[Case], options: GuestOptions, reporter: Reporter) -> Reproduced:
    """Try ``cases`` on the kernel of a run directory, and keep what came of them in its repro.json.

    Raises UsageError when the folder holds no run or its kernel no module that cases can be made of,
    KbtfError for whatever fails before the guests.
    """
    began = time.monotonic()
    with old_run(path, reporter) as this, this.directory.scratch() as scratch:
        reporter.stage("toolchain")
        runner = toolchain(this.record.run.suite, reporter).runner
        kernel = this.directory.kernel_of(this.record.run)
        with prepared(runner, options.accel, reporter) as preparation:
            reporter.stage("cases")
            bench = _Bench.of(kernel)
            for text in _doubts(bench):
                reporter.warn(text)
            early = _early(kernel, options, runner, this)
            made = list(bench.prepare(cases, needs_modules=bool(early)))
            root, accel = preparation.root(), preparation.accel()
        logs = this.directory.file("repro")
        guests = _Guests(bench, options, runner, accel, root, early, scratch, logs, reporter)
        results, used = _run(bench, made, guests)
        found = Reproduced(
            kernel.facts, bench.traits, bench.healthy.name, used, results, time.monotonic() - began
        )
        write_json(this.directory.file("repro.json"), found.document())
    return found


def _doubts(bench: _Bench) -> Iterator[str]:
    """Yield what makes it unsure what this kernel shall say."""
    if unsure := doubt(bench.traits.version):
        yield unsure
    if not bench.kernel.config:
        yield f"no configuration of this kernel at hand: {_MISMATCH} and CONFIG_LIVEPATCH are taken to be off"


def _early(kernel: BuiltKernel, options: GuestOptions, runner: Runner, this: Run) -> tuple[EarlyModule, ...]:
    """Return the modules without which this kernel's guest has no network."""
    if kernel.builtin is None:
        return ()
    factory = GuestFactory(kernel, options, runner, this.directory, kernel.image, b"")
    listed = inventory(kernel.modules, kernel.skipped_btf, kernel.files)
    return factory.early_modules([module for module in listed.modules if not module.fault])


def _run(
    bench: _Bench, made: Sequence[_Tried | CaseResult], guests: _Guests
) -> tuple[tuple[CaseResult, ...], str]:
    """Run the guests, and return each case's result in the order of ``made``, and what they ran in."""
    tried = [one for one in made if isinstance(one, _Tried)]
    if not tried:
        return tuple(one for one in made if isinstance(one, CaseResult)), ""
    shared = [one for one in tried if one.vmlinux is None]
    guests.reporter.stage("modules")
    guests.reporter.note(f"{len(shared)} cases made of {bench.healthy.name}, which is loaded before them")
    controls = {one.control.module.name: one.control for one in tried}
    seen = guests.run("modules", [*controls.values(), *(one.load for one in shared)])
    results = {one.case.name: bench.judged(one, seen, seen) for one in shared}
    for one in tried:
        if one.vmlinux is not None:
            guests.reporter.stage(one.case.name)
            own = guests.run(one.case.name, [one.load], one.vmlinux)
            results[one.case.name] = bench.judged(one, own, seen)
    return tuple(_in_order(made, results)), seen.accel


def _control_outcome(control: _Load, seen: _Seen) -> Outcome | None:
    observation = seen.observations.get(control.module.name)
    return None if observation is None else _judge(control, observation).outcome


def _in_order(made: Sequence[_Tried | CaseResult], results: Mapping[str, CaseResult]) -> Iterator[CaseResult]:
    for one in made:
        yield one if isinstance(one, CaseResult) else results[one.case.name]
