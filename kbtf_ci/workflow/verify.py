# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One kernel and its modules put before each other: check, guest image, guests, verdict, reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from kbtf_ci.btf.format.difference import first_difference
from kbtf_ci.btf.predict.assess import kernel_version
from kbtf_ci.btf.predict.kernel_btf import judged_by, unusable_of
from kbtf_ci.btf.predict.sweep import KernelSpec
from kbtf_ci.btf.rules.versions import doubt
from kbtf_ci.errors import KbtfError
from kbtf_ci.guest.fleet import Share, observe_shares
from kbtf_ci.guest.prove import Prover
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import Listener
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.runner import Runner
from kbtf_ci.infra.runs import Run
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadPolicy, ModuleResult, Observation, judge, with_warnings
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.model.signatures import signatures_forced_by
from kbtf_ci.model.vmlinux_seen import VmlinuxSeen
from kbtf_ci.objfile.files import KernelFile, open_kernel, read_kernel_file
from kbtf_ci.report.check import curious, one_line
from kbtf_ci.report.results import GuestFacts
from kbtf_ci.workflow.extra import with_extra
from kbtf_ci.workflow.guests import GuestFactory, GuestOptions, bootable
from kbtf_ci.workflow.intake import Intake, keep_functions, module_paths, take_in
from kbtf_ci.workflow.preparation import prepared
from kbtf_ci.workflow.proof import KernelToProve, Proving
from kbtf_ci.workflow.verdict import Verdict


def verify(kernel: BuiltKernel, options: GuestOptions, runner: Runner, this: Run) -> Verdict:
    """Boot a kernel and judge its modules as they are now.

    What failed guests left out is NOT_REACHED. Raises KbtfError for whatever fails before the guests.
    """
    record, reporter = this.record, this.reporter
    kernel = with_extra(kernel, options, this.directory)
    machine = machine_of(kernel.architecture, kernel.origin)
    options.require_fit(machine)
    preparing = prepared(runner, options.accel, machine, reporter)
    with preparing as preparation, this.directory.scratch() as scratch:
        with record.stage("check"):
            opened = open_kernel(kernel.image)
            config = kernel.config or opened.file.config or {}
            forced = signatures_forced_by(config, options.append)
            policy = options.policy(len(module_paths(kernel)), forced)
            if forced:
                reporter.note(f"{forced}: modules are loaded for real alone, their signatures as they are")
            boots = bootable(opened, this.directory.guest)
            carriers = scratch if policy is LoadPolicy.CARRIER else None
            spec = _spec(opened.file, kernel, this)
            taken = take_in(spec, kernel, carriers, options.prove, partial(reporter.progress, ""))
            keep_functions(this.directory.functions, taken.functions)
            _tell(taken, reporter)
        with record.stage("guest image"):
            root = preparation.root()
            factory = GuestFactory(
                kernel, options, runner, this.directory, boots, root, opened.file.btf, signed=bool(forced)
            )
            parts = _shares(factory, taken, policy, reporter)
        accel = preparation.accel()
    readable = sum(not one.fault for one in taken.modules)
    unusable = unusable_of(opened, kernel_version("", opened.file))
    to_prove = KernelToProve(opened, kernel.config, unusable)
    proving = Proving.of(options.prove, to_prove, taken, reporter) if options.prove else Proving()
    seen = _ObservationCollector(readable, opened.file.btf, reporter, proving.prover)
    with record.stage("guest"):
        guest, error = _observe(runner, parts, policy, accel, seen)
    if error is not None:
        record.failed(error)
    results, warnings = with_warnings(seen.judged(taken.modules, taken.predictions), seen.warnings)
    found = Verdict(this.directory, kernel.facts, guest, results, taken.predictions, taken.overridden, error)
    verdict = replace(
        found,
        warnings=warnings,
        vmlinux=seen.vmlinux,
        unusable=unusable,
        proof=proving.proof(taken),
        kfunc_proof=proving.kfunc_proof(),
        fail_on=options.fail_on,
    )
    verdict.write()
    return verdict


def _spec(image: KernelFile, kernel: BuiltKernel, this: Run) -> KernelSpec:
    """Return the kernel to judge by, and say what makes that unsure."""
    vmlinux = this.directory.kernel / "vmlinux"
    if vmlinux.is_file() and image.btf != read_kernel_file(vmlinux).btf:
        this.reporter.warn("bzImage and vmlinux hold different BTF: vmlinux was linked again after the image")
    version = kernel_version("", image)
    if unsure := doubt(version):
        this.reporter.warn(unsure)
    judged = judged_by(image, version)
    if judged.newer:
        this.reporter.warn(f"{kernel.image}: {judged.newer}")
    return KernelSpec(image, judged.rules, kernel.config)


def _tell(taken: Intake, reporter: Reporter) -> None:
    reporter.note(one_line(taken.predictions))
    for line in curious(taken.predictions):
        reporter.warn(line)
    for one in taken.overridden:
        reporter.note(f"{one.module.file} is not loaded: modprobe takes {one.by.file} in its place")


def _shares(
    factory: GuestFactory, taken: Intake, policy: LoadPolicy, reporter: Reporter
) -> tuple[Share, ...]:
    readable = [module for module in taken.modules if not module.fault]
    if policy is not LoadPolicy.CARRIER:
        return factory.with_modules(readable, policy)
    if factory.options.load is None:
        reporter.note(f"{len(readable)} modules are loaded as carriers; --load auto loads them for real")
    return factory.with_carriers(taken.archives, readable)


def _observe(
    runner: Runner, parts: Sequence[Share], policy: LoadPolicy, accel: Accel, seen: _ObservationCollector
) -> tuple[GuestFacts | None, KbtfError | None]:
    """Run the guests; return how they ran, or what ended them early. ``seen`` has what was observed."""
    if not parts:
        return None, None  # of no module is there anything to load
    try:
        ran = observe_shares(runner, parts, policy, seen.listener(), accel)
    except KbtfError as end:
        return None, end
    boot_s, load_s = round(ran.boot_s, 2), round(ran.load_s, 2)
    architecture = parts[0].spec.machine.name
    return GuestFacts(ran.accel.value, boot_s, load_s, ran.boots, ran.guests, architecture), None


class _ObservationCollector:
    """Collects what the guest says, and tells how far it is."""

    def __init__(self, expected: int, btf: bytes, reporter: Reporter, prover: Prover | None) -> None:
        self.observations: dict[str, list[Observation]] = {}
        self.warnings: list[KernelWarning] = []
        self.vmlinux: VmlinuxSeen | None = None
        self._expected = expected
        self._btf = btf
        self._reporter = reporter
        self._prover = prover

    def listener(self) -> Listener:
        warn = self._reporter.warn
        return Listener(
            self._observed, self._booted, warn, self.warnings.append, self._vmlinux_read, self._prover
        )

    def _vmlinux_read(self, found: bytes) -> None:
        """Keep what a guest has in memory; of several guests what differs first."""
        if self.vmlinux is None or not self.vmlinux.difference:
            self.vmlinux = VmlinuxSeen.of(self._btf, found, first_difference(self._btf, found))

    def judged(self, modules: Iterable[Module], predictions: Iterable[Prediction]) -> Iterator[ModuleResult]:
        """Yield the verdict on each module, whether it was reached or not."""
        moved = {one.name: one.sysfs_sha256 for one in predictions}
        for module in modules:
            yield judge(module, self.observations.get(module.name, ()), moved.get(module.name, ""))

    def _observed(self, observation: Observation) -> None:
        self.observations.setdefault(observation.name, []).append(observation)
        self._reporter.progress(observation.name, len(self.observations), self._expected)
        if observation.death is not None:
            self._reporter.warn(
                f"{observation.death} under {observation.name} ({observation.mode}); booting again behind it"
            )

    def _booted(self, number: int, seconds: float) -> None:
        self._reporter.note(f"guest {number} answers after {seconds:.1f} s")
