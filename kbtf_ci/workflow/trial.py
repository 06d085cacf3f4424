# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A case of the catalogue made ready for one kernel, and what came of it judged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
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
from kbtf_ci.btf.predict.assess import Assessor, kernel_version
from kbtf_ci.btf.predict.kernel_btf import rules_of
from kbtf_ci.btf.predict.sweep import KernelSpec, predicted
from kbtf_ci.btf.rules.versions import doubt
from kbtf_ci.model.case import Traits
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import ModuleResult, Observation, judge
from kbtf_ci.model.prediction import Prediction, disagreements
from kbtf_ci.model.repro import CaseResult, Observed
from kbtf_ci.objfile.carrier import make_carrier
from kbtf_ci.objfile.elf import ElfImage, module_entry
from kbtf_ci.objfile.files import OpenKernel, boots_by_pvh, open_kernel, parse_module
from kbtf_ci.workflow.subject import find_subject

_MISMATCH: Final = "CONFIG_MODULE_ALLOW_BTF_MISMATCH"
_CONTROL: Final = "untouched"


@dataclass(frozen=True)
class Load:
    """A module that a guest is given.

    ``moved`` is the SHA-256 of what ``/sys/kernel/btf`` shall hold, "" where that is the module's ``.BTF``.
    """

    module: Module
    data: bytes
    moved: str = ""


@dataclass(frozen=True)
class Trial:
    """A case that applies: what is loaded, untouched and altered, and what the offline check predicts of it.

    ``vmlinux`` is the BTF of another vmlinux that boots, None for the healthy one.
    """

    case: Case
    load: Load
    control: Load
    prediction: Prediction
    vmlinux: bytes | None = None


@dataclass
class Seen:
    """What one guest said.

    ``difference`` is the first one of vmlinux's BTF in its memory, ``log`` the kernel's of the whole boot,
    ``error`` what ended it early; "" for none.
    """

    observations: dict[str, Observation] = field(default_factory=dict)
    difference: str = ""
    log: tuple[str, ...] = ()
    error: str = ""
    seconds: float = 0.0
    accel: str = ""


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
    def control(self) -> Load:
        """The untouched module, by another name: what a guest has loaded by itself may be the same."""
        return _untouched(_CONTROL, make_carrier(self.healthy.file, name=_CONTROL))

    def doubts(self) -> Iterator[str]:
        """Yield what makes it unsure what this kernel shall say."""
        if unsure := doubt(self.traits.version):
            yield unsure
        if not self.kernel.config:
            yield f"no configuration of it at hand: {_MISMATCH} and CONFIG_LIVEPATCH are taken to be off"

    def prepare(self, cases: Iterable[Case], *, needs_modules: bool) -> Iterator[Trial | CaseResult]:
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

    def _made(self, number: int, case: Case, altered: Altered, assessor: Assessor) -> Trial:
        name, data = as_module(case, altered, self.healthy)
        vmlinux = altered.btf if isinstance(altered, AlteredVmlinux) else None
        if vmlinux is not None:
            assessor = replace(self.spec, file=replace(self.spec.file, btf=vmlinux)).assessor()
        module = replace(module_entry(ElfImage(data), f"{number:03}-{case.name}.ko"), name=name)
        assessed = assessor.assess(parse_module(data, Path(module.file)))
        moved = altered.sysfs if isinstance(altered, AlteredBtf) else None
        load = Load(module, data, hashlib.sha256(moved).hexdigest() if moved else "")
        control = self.control
        if isinstance(altered, AlteredFile):
            control = _untouched(altered.control_name, altered.control)
        return Trial(case, load, control, predicted(assessed, assessor, siblings_have_btf=True), vmlinux)

    def _result(self, case: Case, **values: Any) -> CaseResult:
        expected = case.expected.under(self.traits)
        return CaseResult(case.name, case.failure_class, case.module, expected, **values)

    def judged(self, trial: Trial, seen: Seen, healthy: Seen) -> CaseResult:
        """Return what came of a case in its guest; ``healthy`` is the one with the untouched modules."""
        untouched = healthy.observations.get(trial.control.module.name)
        control = None if untouched is None else _judge(trial.control, untouched).outcome
        observation = seen.observations.get(trial.load.module.name)
        values: dict[str, Any] = {"control": control, "prediction": trial.prediction, "broken": seen.error}
        if observation is not None:
            result = _judge(trial.load, observation)
            observed = _observed(result, observation, trial, seen)
            own = round(observation.load_us / 1_000_000, 3)
            values |= {
                "broken": "",
                "observed": observed,
                "differs": _differs(trial.prediction, result, observed),
                "seconds": own if trial.vmlinux is None else round(seen.seconds, 1),
            }
        return replace(self._result(trial.case, **values), module=trial.load.module.name)


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
    )


def _differs(prediction: Prediction, result: ModuleResult, observed: Observed) -> bool:
    return (prediction.outcome, prediction.errno) != (observed.outcome, observed.errno) or bool(
        disagreements([prediction], [result])
    )
