# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One kernel and its modules put before each other: check, guest image, guests, verdict, reports.

What a run directory holds is all that this needs, whoever filled it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kbtf_ci.btf.predict.assess import kernel_version
from kbtf_ci.btf.predict.sweep import KernelSpec, sweep
from kbtf_ci.btf.rules.versions import doubt
from kbtf_ci.errors import ExitCode, KbtfError, UsageError
from kbtf_ci.guest.fleet import Share, observe_shares, shares
from kbtf_ci.guest.guest import GuestSpec
from kbtf_ci.guest.image import EarlyModule, default_memory_mib, make_image
from kbtf_ci.guest.needs import loaded_first
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import Listener
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.infra import rundir
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Record, Reporter
from kbtf_ci.infra.runner import Runner
from kbtf_ci.kernel.strip import strip_modules
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import (
    LoadPolicy,
    ModuleResult,
    Observation,
    exit_code,
    judge,
    only_unreadable,
    with_warnings,
)
from kbtf_ci.model.prediction import OverriddenPrediction, Prediction
from kbtf_ci.objfile.carrier import write_carriers
from kbtf_ci.objfile.files import parse_config, read_kernel_file
from kbtf_ci.objfile.inventory import Inventory, check_unaltered, inventory, module_files
from kbtf_ci.report.check import one_line
from kbtf_ci.report.junit import junit
from kbtf_ci.report.ktap import ktap
from kbtf_ci.report.markdown import markdown
from kbtf_ci.report.results import GuestFacts, document
from kbtf_ci.report.summary import summary

# Loaded for real, more modules than these take longer the more of them are in.
_REAL_UP_TO = 1500
# A guest more costs a boot, which is worth it from so many modules on.
_MODULES_A_GUEST = 1000


@dataclass(frozen=True)
class GuestOptions:
    """What the user asked for of the guests; None leaves it to the profile or to what there is to load."""

    accel: Accel = Accel.AUTO
    memory_mib: int | None = None
    cpus: int | None = None
    append: str = ""
    load: LoadPolicy | None = None
    guests: int | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    fail_on: frozenset[FailOn] = DEFAULT_FAIL_ON


@dataclass(frozen=True)
class Verdict:
    """The end of a run: a result for every module, and the error that ended it early, if one did.

    ``warnings`` are the kernel's that belong to no module; ``fail_on`` says which findings are no pass.
    """

    directory: rundir.RunDirectory
    kernel: KernelFacts
    guest: GuestFacts | None
    results: tuple[ModuleResult, ...]
    predictions: tuple[Prediction, ...] = ()
    overridden: tuple[OverriddenPrediction, ...] = ()
    error: KbtfError | None = None
    stages: dict[str, float] = field(default_factory=dict)
    warnings: tuple[KernelWarning, ...] = ()
    fail_on: frozenset[FailOn] = DEFAULT_FAIL_ON

    @property
    def findings(self) -> frozenset[FailOn]:
        """What speaks against this kernel besides outcomes: a warning, BTF of another vmlinux that loads."""
        mismatch = any(one.base_mismatch for one in self.predictions)
        warned = bool(self.warnings) or any(result.warnings for result in self.results)
        found = {FailOn.BASE_MISMATCH: mismatch, FailOn.WARNING: warned}
        return frozenset(finding for finding, there in found.items() if there)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that the results and those findings ask for that count."""
        return ExitCode.NOT_VERIFIED if self.findings & self.fail_on else exit_code(self.results)

    @property
    def only_unreadable(self) -> bool:
        """Whether some modules could not be read and nothing else is wrong: no word on the kernel."""
        return not self.findings & self.fail_on and only_unreadable(self.results)

    @property
    def ended(self) -> str:
        """Why the run ended before its last module, "" if it did not."""
        return self.error.message if self.error else ""

    def summary(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return summary(
            self.kernel,
            self.guest,
            self.results,
            self.predictions,
            self.ended,
            overridden=self.overridden,
            warnings=self.warnings,
        )

    def write(self) -> None:
        """Write results.json and the reports made from it."""
        values = document(
            self.kernel,
            self.guest,
            self.results,
            self.predictions,
            self.ended,
            overridden=self.overridden,
            warnings=self.warnings,
            fail_on=self.fail_on,
        )
        rundir.write_json(self.directory.results_json, values)
        lines = ktap(self.results, self.warnings, self.fail_on)
        rundir.write_text(self.directory.file("results.ktap"), lines)
        page = markdown(self.kernel, self.stages, self.results, self.warnings)
        rundir.write_text(self.directory.file("summary.md"), page)
        self.write_junit(self.directory.file("junit.xml"))

    def write_junit(self, path: Path) -> None:
        """Write JUnit XML to ``path``."""
        rundir.write_text(path, junit(self.kernel.release, self.results, self.warnings, self.fail_on))


@dataclass(frozen=True)
class Run:
    """One run under way: its folder, its record, and who is told of it."""

    directory: rundir.RunDirectory
    record: Record
    reporter: Reporter


@contextmanager
def new_run(output: Path | None, name: str, facts: dict[str, Any], reporter: Reporter) -> Iterator[Run]:
    """Give a run in a folder of its own: ``output``, else ``runs/<UTC time>-<name>``, held for this command.

    A call that is refused before there is a kernel leaves no folder, and ``latest`` as it was; any other end
    lets ``latest`` point at the run. Raises UsageError for a folder that is not empty or cannot be made.
    """
    cache_root()  # one that cannot be used is refused before there is a folder
    path = output or rundir.default_path(name)
    existed = path.is_dir()
    directory = rundir.create(path)
    record = Record(directory, reporter, facts)
    refused = False
    with directory.locked(reporter.note):
        try:
            yield Run(directory, record, reporter)
        except UsageError:
            refused = "kernel" not in record.facts
            raise
        finally:
            if refused:
                rundir.discard(directory, keep_folder=existed)
            elif output is None:
                rundir.point_latest(directory)


def verify(options: GuestOptions, runner: Runner, this: Run) -> Verdict:
    """Boot the kernel of a run directory and judge its modules as they are in it now.

    What failed guests left out is NOT_REACHED. Raises KbtfError for whatever fails before the guests.
    """
    record, directory = this.record, this.directory
    with record.stage("check"):
        predictions = _predict(this)
    listed = inventory(directory.modules, record.facts["skipped_btf"])
    modules = listed.modules
    predictions, overridden = _divided(predictions, listed, this)
    readable = tuple(module for module in modules if not module.fault)
    policy = _policy(options, readable, this)
    with record.stage("guest image"):
        parts = [
            Share(guest_spec(options, runner, this, part), part.modules, part.logs)
            for part in _parts(options, readable, policy, this)
        ]
    sight = _ObservationCollector(len(readable), this.reporter)
    guest, error = _observe(runner, parts, policy, sight, record)
    results, warnings = with_warnings(sight.judged(modules, predictions), sight.warnings)
    kernel = KernelFacts(**record.facts["kernel"])
    found = Verdict(directory, kernel, guest, results, predictions, overridden, error)
    stages = dict(record.facts["stages"])
    verdict = replace(found, stages=stages, warnings=warnings, fail_on=options.fail_on)
    verdict.write()
    return verdict


def _observe(
    runner: Runner, parts: Sequence[Share], policy: LoadPolicy, sight: _ObservationCollector, record: Record
) -> tuple[GuestFacts | None, KbtfError | None]:
    """Run the guests; return how they ran, or what ended them early. ``sight`` has what was observed."""
    with record.stage("guest"):
        try:
            seen = observe_shares(runner, parts, policy, sight.listener())
        except KbtfError as end:
            record.failed(end)
            return None, end
    boot_s, load_s = round(seen.boot_s, 2), round(seen.load_s, 2)
    return GuestFacts(seen.accel.value, boot_s, load_s, seen.boots, seen.guests), None


def _divided(
    predictions: Sequence[Prediction], listed: Inventory, this: Run
) -> tuple[tuple[Prediction, ...], tuple[OverriddenPrediction, ...]]:
    """Return the predictions of what is loaded, and those of the files in whose place that is."""
    by_path = {one.file: one for one in predictions}
    tree = this.directory.modules
    chosen = tuple(by_path[str(tree / module.stored)] for module in listed.modules)
    overridden = tuple(
        OverriddenPrediction(one.module, one.by, by_path[str(tree / one.module.stored)])
        for one in listed.overridden
    )
    for one in overridden:
        this.reporter.note(f"{one.module.file} is not loaded: modprobe takes {one.by.file} in its place")
    return chosen, overridden


def _predict(this: Run) -> tuple[Prediction, ...]:
    """Ask the offline check about every module, and the kernel image whether it holds vmlinux's BTF."""
    directory = this.directory
    image = read_kernel_file(directory.kernel / "bzImage")
    vmlinux = directory.kernel / "vmlinux"
    if vmlinux.is_file() and image.btf != read_kernel_file(vmlinux).btf:
        this.reporter.warn("bzImage and vmlinux hold different BTF: vmlinux was linked again after the image")
    config = read_config(directory)
    version = kernel_version("", image)
    if unsure := doubt(version):
        this.reporter.warn(unsure)
    spec = KernelSpec(image, version, config)
    found = sweep(spec, module_files(directory.modules), len(os.sched_getaffinity(0)))
    this.reporter.note(one_line(found))
    return found


def read_config(directory: rundir.RunDirectory) -> dict[str, str]:
    """Return the kernel's configuration (``CONFIG_X`` to value), empty where the folder has none."""
    path = directory.file("kernel.config")
    return parse_config(path.read_text(errors="replace")) if path.is_file() else {}


def _policy(options: GuestOptions, modules: Sequence[Module], this: Run) -> LoadPolicy:
    """Return how to load: as asked for, else as carriers where loading all for real would take too long."""
    if options.load is not None:
        return options.load
    if len(modules) <= _REAL_UP_TO:
        return LoadPolicy.AUTO
    this.reporter.note(f"{len(modules)} modules are loaded as carriers; --load auto loads them for real")
    return LoadPolicy.CARRIER


@dataclass(frozen=True)
class Part:
    """What one guest loads and how, the folders of its image and logs, and what it cannot do without.

    With a ``release`` its modules are modprobe's to load.
    """

    modules: tuple[Module, ...]
    policy: LoadPolicy
    folder: Path
    logs: Path
    early: tuple[EarlyModule, ...] = ()
    release: str = ""


def _parts(options: GuestOptions, modules: Sequence[Module], policy: LoadPolicy, this: Run) -> Iterator[Part]:
    directory = this.directory
    guests = options.guests or _guests(len(modules))
    divided, early = shares(modules, guests, policy), tuple(_early_modules(this, modules))
    for number, share in enumerate(divided, 1):
        alone = len(divided) == 1
        folder = directory.guest if alone else directory.guest / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        yield Part(share, policy, folder, directory.path if alone else folder, early)


def _guests(modules: int) -> int:
    """Return how many guests at once are worth their boots, at most one a core."""
    return max(1, min(len(os.sched_getaffinity(0)), modules // _MODULES_A_GUEST))


def _early_modules(this: Run, modules: Sequence[Module]) -> Iterator[EarlyModule]:
    """Yield the modules without which the guest has no network; none where the kernel was built for it."""
    prebuilt = this.record.facts.get("prebuilt")
    if prebuilt is None:
        return
    directory = this.directory
    config = read_config(directory) or None
    for module in loaded_first(modules, frozenset(prebuilt["builtin"]), config):
        yield EarlyModule(module.name, (directory.modules / module.file).read_bytes())


def whole_guest(options: GuestOptions, runner: Runner, this: Run) -> GuestSpec:
    """Return a guest that carries all modules as they were built, where modprobe finds them."""
    directory = this.directory
    listed = inventory(directory.modules, this.record.facts["skipped_btf"])
    modules = tuple(module for module in listed.modules if not module.fault)
    early = tuple(_early_modules(this, modules))
    release = this.record.facts["kernel"]["release"]
    part = Part(modules, LoadPolicy.AUTO, directory.guest, directory.path, early, release)
    return guest_spec(options, runner, this, part)


def guest_spec(options: GuestOptions, runner: Runner, this: Run, part: Part) -> GuestSpec:
    """Return a guest that carries the part's modules as its policy wants them, its image made."""
    directory, facts = this.directory, this.record.facts
    modules = part.modules
    if part.policy is LoadPolicy.CARRIER:
        carried = directory.guest_carriers
        write_carriers(directory.modules, carried, modules)
    else:
        carried = directory.guest_modules
        files = [module.file for module in modules]
        strip_modules(runner, directory.modules, carried, files, len(os.sched_getaffinity(0)))
        check_unaltered(modules, carried)
    image = make_image(runner, part.folder, carried, modules, part.early, release=part.release)
    return GuestSpec(
        kernel=directory.kernel / "bzImage",
        image=image,
        memory_mib=options.memory_mib
        or facts["profile"]["memory_mib"]
        or default_memory_mib(image.initramfs),
        cpus=options.cpus or facts["profile"]["cpus"],
        accel=options.accel,
        append=options.append,
        timeouts=options.timeouts,
    )


class _ObservationCollector:
    """Collects what the guest says, and tells how far it is."""

    def __init__(self, expected: int, reporter: Reporter) -> None:
        self.observations: dict[str, list[Observation]] = {}
        self.warnings: list[KernelWarning] = []
        self._expected = expected
        self._reporter = reporter

    def listener(self) -> Listener:
        return Listener(self._observed, self._booted, self._reporter.warn, self.warnings.append)

    def judged(self, modules: Iterable[Module], predictions: Iterable[Prediction]) -> Iterator[ModuleResult]:
        """Yield the verdict on each module, whether it was reached or not."""
        moved = {one.name: one.sysfs_sha256 for one in predictions}
        for module in modules:
            yield judge(module, self.observations.get(module.name, ()), moved.get(module.name, ""))

    def _observed(self, observation: Observation) -> None:
        self.observations.setdefault(observation.name, []).append(observation)
        self._reporter.progress(f"{len(self.observations)} of {self._expected}, {observation.name}")
        if observation.death is not None:
            self._reporter.warn(
                f"{observation.death} under {observation.name} ({observation.mode}); booting again behind it"
            )

    def _booted(self, number: int, seconds: float) -> None:
        self._reporter.note(f"guest {number} answers after {seconds:.1f} s")
