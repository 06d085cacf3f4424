# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A case of the catalogue made ready for one kernel, and what came of it judged."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
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
    NotBuilt,
    NotThereError,
    as_module,
)
from kbtf_ci.btf.cases.workshop import Workshop
from kbtf_ci.btf.format.lookup import index_of
from kbtf_ci.btf.format.reader import Btf, BtfError
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.predict.assess import Assessor, kernel_version
from kbtf_ci.btf.predict.kernel_btf import rules_of
from kbtf_ci.btf.predict.sweep import KernelSpec, predicted
from kbtf_ci.btf.rules.versions import doubt
from kbtf_ci.btf.usable.fentry import functions
from kbtf_ci.btf.usable.registered import registered_kfuncs
from kbtf_ci.model.case import Need, Traits
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.model.kfunc_proof import RegisteredKfunc
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import ModuleResult, Observation, judge
from kbtf_ci.model.prediction import Prediction, disagreements
from kbtf_ci.model.proof import WANTED, Function
from kbtf_ci.model.repro import CaseResult, Observed
from kbtf_ci.objfile.carrier import make_carrier
from kbtf_ci.objfile.elf import ElfImage, module_entry
from kbtf_ci.objfile.files import OpenKernel, open_kernel, parse_module
from kbtf_ci.objfile.other_btf import btf_in_image
from kbtf_ci.objfile.tracing import Places
from kbtf_ci.workflow.subject import find_subject

_MISMATCH: Final = "CONFIG_MODULE_ALLOW_BTF_MISMATCH"
_CONTROL: Final = "untouched"
_WITHOUT_TWIN: Final = ("kfunc.implicit", "kfunc.impl")


@dataclass(frozen=True)
class Load:
    """A module that a guest is given.

    ``moved`` is the SHA-256 of what ``/sys/kernel/btf`` shall hold of a module with a distilled base, ""
    where that is its ``.BTF`` as it is.
    """

    module: Module
    data: bytes
    moved: str = ""


@dataclass(frozen=True)
class Trial:
    """A case that applies: what is loaded, untouched and altered, and what the offline check predicts of it.

    ``vmlinux`` is the BTF of another vmlinux that boots, None for the healthy one. ``build`` is what make
    said where it was called, and ``build_seconds`` how long tools took. ``functions`` are those that BPF
    programs are tried on, as the untouched module describes them, ``misdescribed`` the names of those that
    the altered one describes otherwise; ``kfuncs`` are the altered one's, which programs call.
    """

    case: Case
    load: Load
    control: Load
    prediction: Prediction
    vmlinux: bytes | None = None
    build: tuple[str, ...] = ()
    build_seconds: float = 0.0
    functions: tuple[Function, ...] = ()
    misdescribed: tuple[str, ...] = ()
    kfuncs: tuple[RegisteredKfunc, ...] = ()


@dataclass(frozen=True)
class Unbuilt:
    """A case in which a build fails: what it said, and how long it took, in seconds."""

    case: Case
    build: tuple[str, ...]
    build_seconds: float


@dataclass
class Seen:
    """What one guest said.

    ``difference`` is the first one of vmlinux's BTF in its memory, ``log`` the kernel's of the whole boot,
    ``error`` what ended it early; "" for none. ``misdescribed`` has by module the functions that programs
    found otherwise than they should, ``uncallable`` the kfuncs that they could not call.
    """

    observations: dict[str, Observation] = field(default_factory=dict)
    difference: str = ""
    log: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0
    accel: str = ""
    misdescribed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    uncallable: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """A kernel on which cases are trial."""

    kernel: BuiltKernel
    opened: OpenKernel
    spec: KernelSpec
    traits: Traits
    healthy: Healthy

    @classmethod
    def of(cls, kernel: BuiltKernel) -> Bench:
        """Read the kernel's image, and find the module that cases are made of."""
        opened = open_kernel(kernel.image)
        version = kernel_version("", opened.file)
        traits = Traits(
            version=version,
            allows_mismatch=kernel.config.get(_MISMATCH) == "y",
            alterable=btf_in_image(opened) is not None,
            livepatch=kernel.config.get("CONFIG_LIVEPATCH") == "y",
            fentry=_takes_programs(kernel.config, opened.file.btf),
        )
        spec = KernelSpec(opened.file, rules_of(opened.file, version), kernel.config)
        return cls(kernel, opened, spec, traits, find_subject(kernel, opened.file))

    @cached_property
    def control(self) -> Load:
        """The untouched module, by another name: what a guest has loaded by itself may be the same."""
        return _untouched(_CONTROL, make_carrier(self.healthy.file, name=_CONTROL))

    def doubts(self) -> Iterator[str]:
        """Yield what makes it unsure what this kernel shall say."""
        if unsure := doubt(self.traits.version):
            yield unsure
        if not self.kernel.config:
            yield f"no configuration of it at hand: {_MISMATCH} and CONFIG_LIVEPATCH are taken to be off"

    def prepare(
        self, cases: Iterable[Case], shop: Workshop, *, needs_modules: bool
    ) -> Iterator[Trial | Unbuilt | CaseResult]:
        """Yield each case, made, or why it does not apply."""
        assessor = self.spec.assessor()
        for number, case in enumerate(cases, 1):
            began = time.monotonic()
            try:
                altered = self._altered(case, shop, needs_modules=needs_modules)
            except NotThereError as error:
                yield self._result(case, inapplicable=str(error))
                continue
            took = round(time.monotonic() - began, 1) if case.build else 0.0
            if isinstance(altered, NotBuilt):
                yield Unbuilt(case, altered.build, took)
            else:
                yield replace(self._made(number, case, altered, assessor), build_seconds=took)

    def _altered(self, case: Case, shop: Workshop, *, needs_modules: bool) -> Altered | NotBuilt:
        """Return what the case makes of the kernel. Raises NotThereError where it does not apply."""
        if reason := case.inapplicable(self.traits):
            raise NotThereError(reason)
        if case.build is not None:
            altered = case.build(self.healthy, shop)
        elif case.make is not None:
            altered = case.make(self.healthy)
        else:
            raise NotThereError("nothing is known of how to provoke it")
        if isinstance(altered, AlteredVmlinux) and needs_modules and not self.traits.allows_mismatch:
            raise NotThereError("its guest has no network without modules, which it would refuse then")
        return altered

    def _made(self, number: int, case: Case, altered: Altered, assessor: Assessor) -> Trial:
        name, data = as_module(case, altered, self.healthy)
        if isinstance(altered, AlteredVmlinux):
            assessor = replace(self.spec, file=replace(self.spec.file, btf=altered.btf)).assessor()
        load, prediction = _load(f"{number:03}-{case.name}.ko", name, data, assessor)
        trial = Trial(case, load, self.control, prediction)
        match altered:
            case AlteredBtf():
                moved = hashlib.sha256(altered.sysfs).hexdigest() if altered.sysfs else ""
                return replace(trial, load=replace(load, moved=moved), build=altered.build)
            case AlteredFile():
                control = altered.control_name
                untouched, _ = _load(f"000-{control}.ko", control, altered.control, assessor)
                trial = replace(trial, control=untouched, build=altered.build)
                return self._with_programs(trial, altered.original) if Need.FENTRY in case.needs else trial
            case AlteredVmlinux():
                return replace(trial, vmlinux=altered.btf)

    def _with_programs(self, trial: Trial, original: bytes) -> Trial:
        """Return a trial with what BPF programs are tried on, as the untouched module describes it.

        A program on a kfunc with an implicit argument takes its twin's prototype, too (kernel/bpf/verifier.c,
        bpf_check_attach_target(), since 7.2).
        """
        name = trial.load.module.name
        untouched, altered = ElfImage(original, name), ElfImage(trial.load.data, name)
        base = self.healthy.vmlinux
        before, after = (Btf.parse(one.section(".BTF") or b"", base) for one in (untouched, altered))
        described = tuple(functions(before, Places.of(untouched)))
        pairs = zip(described, functions(after, Places.of(altered)), strict=True)
        kfuncs = tuple(registered_kfuncs(altered, after, name, trial.prediction.unusable))
        without = {one.name for one in kfuncs if one.unusable in _WITHOUT_TWIN}
        changed = tuple(old.name for old, new in pairs if old != new or old.name in without)
        return replace(trial, functions=described, misdescribed=changed, kfuncs=kfuncs)

    def _result(self, case: Case, **values: Any) -> CaseResult:
        expected = case.expected.under(self.traits)
        return CaseResult(case.name, case.failure_class, case.module, expected, **values)

    def unbuilt(self, one: Unbuilt, healthy: Seen) -> CaseResult:
        """Return what came of a case in which a build fails; its control is a module of the kernel's own."""
        untouched = healthy.observations.get(self.control.module.name)
        return self._result(
            one.case,
            control=None if untouched is None else _judge(self.control, untouched).outcome,
            observed=Observed(None, build=one.build),
            build_seconds=one.build_seconds,
        )

    def judged(self, trial: Trial, seen: Seen, healthy: Seen) -> CaseResult:
        """Return what came of a case in its guest; ``healthy`` is the one with the untouched modules."""
        untouched = healthy.observations.get(trial.control.module.name)
        control = None if untouched is None else _judge(trial.control, untouched).outcome
        observation = seen.observations.get(trial.load.module.name)
        values: dict[str, Any] = {
            "control": control,
            "prediction": trial.prediction,
            "broken": seen.error,
            "build_seconds": trial.build_seconds,
            "misdescribed": trial.misdescribed,
        }
        if observation is not None:
            result = _judge(trial.load, observation)
            observed = _observed(result, observation, trial, seen)
            own = round(observation.load_us / 1_000_000, 3)
            values |= {
                "broken": "",
                "observed": observed,
                "differs": _differs(trial, result, observed),
                "seconds": own if trial.vmlinux is None else round(seen.seconds, 1),
            }
        return replace(self._result(trial.case, **values), module=trial.load.module.name)


# Of a kernel without a configuration at hand: functions that are there where it takes programs on functions.
_OF_PROGRAMS: Final = ("bpf_int_jit_compile", "bpf_trace_run1", "register_ftrace_direct")


def _takes_programs(config: Mapping[str, str], btf: bytes) -> bool:
    """Return whether BPF programs can be attached to functions: by the configuration, or vmlinux's BTF."""
    if config:
        return all(config.get(symbol) == "y" for symbol in WANTED)
    try:
        vmlinux = Btf.parse(btf)
    except BtfError:
        return False
    return all(index_of(vmlinux, name, Kind.FUNC) is not None for name in _OF_PROGRAMS)


def _load(file: str, name: str, data: bytes, assessor: Assessor) -> tuple[Load, Prediction]:
    """Return a module as a guest gets it, and what the offline check predicts of it."""
    module = replace(module_entry(ElfImage(data), file), name=name)
    prediction = predicted(assessor.assess(parse_module(data, Path(file))), assessor, siblings_have_btf=True)
    return Load(module, data, prediction.sysfs_sha256), prediction


def _untouched(name: str, data: bytes) -> Load:
    return Load(replace(module_entry(ElfImage(data), f"000-{name}.ko"), name=name), data)


def _judge(load: Load, observation: Observation) -> ModuleResult:
    return judge(load.module, (observation,), load.moved)


def _observed(result: ModuleResult, observation: Observation, trial: Trial, seen: Seen) -> Observed:
    """Return what was seen; of an altered vmlinux the kernel speaks once, at boot, and not in the load."""
    return Observed(
        outcome=result.outcome,
        errno=observation.errno,
        log=observation.log if trial.vmlinux is None else seen.log,
        sysfs=observation.sysfs_sha256 is not None,
        vmlinux_difference=seen.difference,
        reason=result.reason,
        build=trial.build,
        misdescribed=seen.misdescribed.get(trial.load.module.name, ()),
        uncallable=seen.uncallable.get(trial.load.module.name, ()),
    )


def _differs(trial: Trial, result: ModuleResult, observed: Observed) -> bool:
    prediction = trial.prediction
    unusable = tuple(one.name for one in trial.kfuncs if one.unusable)
    wanted = (prediction.outcome, prediction.errno, trial.misdescribed, unusable)
    seen = (observed.outcome, observed.errno, observed.misdescribed, observed.uncallable)
    return wanted != seen or bool(disagreements([prediction], [result]))
