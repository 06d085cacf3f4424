# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""results.json, read: what all reports are made of. report/results.py writes it. The schema only grows.

Keys that earlier versions did not write may be missing, and those of later ones are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.fail_on import FailOn
from kbtf_ci.model.invalid import first_fault
from kbtf_ci.model.kernel import X86_64, KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.usable import Unusable

RESULTS_SCHEMA: Literal["kbtf-ci/results/1"] = "kbtf-ci/results/1"
# Of these the kernel has said nothing.
_UNSEEN: Final = (Outcome.NOT_REACHED, Outcome.UNREADABLE)
_OF_THE_KERNEL: Final = (FailOn.VMLINUX, FailOn.PROOF, FailOn.UNUSABLE)


def _warning(values: Any) -> Any:
    return {**values, "module": values.get("module") or ""} if isinstance(values, Mapping) else values


def _unusable(values: Any) -> Any:
    return {**values, "set_name": values.get("set") or ""} if isinstance(values, Mapping) else values


_Warning = Annotated[KernelWarning, BeforeValidator(_warning)]
_Unusable = Annotated[Unusable, BeforeValidator(_unusable)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class GuestEntry(_Part):
    """How it was booted; times in seconds."""

    accel: str
    boot_s: float
    load_s: float
    boots: int = 1
    guests: int = 1
    architecture: str = X86_64


class VmlinuxEntry(_Part):
    """Digests of vmlinux's own BTF in image and memory; ``difference`` is "" where they are equal."""

    btf_sha256: str
    sysfs_sha256: str
    difference: str = ""


class DifferenceEntry(_Part):
    """A function or kfunc of which BPF programs show otherwise than predicted."""

    module: str
    function: str
    expected: str
    seen: str


class ProofEntry(_Part):
    """What fentry programs came to; ``cannot`` says why there were none."""

    cannot: str | None = None
    modules: int = 0
    functions: int = 0
    as_predicted: Mapping[str, int] = {}
    attached: int = 0
    attached_functions: int = 0
    seconds: float = 0.0
    differences: tuple[DifferenceEntry, ...] = ()


class RefusedEntry(_Part):
    """A kfunc that programs of no type can call, and why."""

    module: str
    kfunc: str
    program: str
    why: str


class KfuncProofEntry(_Part):
    """What calls of kfuncs came to; ``cannot`` says why there were none."""

    cannot: str | None = None
    kfuncs: int = 0
    callable: int = 0
    refused: tuple[RefusedEntry, ...] = ()
    not_proven: tuple[Mapping[str, str], ...] = ()
    seconds: float = 0.0
    differences: tuple[DifferenceEntry, ...] = ()


class PredictedEntry(_Part):
    """The offline check's word on a module."""

    outcome: Outcome
    rule: str = ""
    base_mismatch: str = ""
    cause: str = ""
    advice: str = ""


class AttemptEntry(_Part):
    """An attempt to load a module that came before the one that decided."""

    load: str
    errno: int | None = None
    death: str | None = None
    kernel_log: tuple[str, ...] = ()


class ModuleEntry(_Part):
    """One module: sizes in bytes, ``errno`` negative or None, ``load_us`` in microseconds."""

    name: str
    file: str
    outcome: Outcome
    btf_bytes: Annotated[int, Field(ge=0)]
    extra: bool = False
    reason: str = ""
    load: str | None = None
    btf_sha256: str | None = None
    sysfs_sha256: str | None = None
    errno: int | None = None
    load_us: int | None = None
    kernel_log: tuple[str, ...] = ()
    warnings: tuple[_Warning, ...] = ()
    earlier: tuple[AttemptEntry, ...] = ()
    unusable: tuple[_Unusable, ...] = ()
    predicted: PredictedEntry | None = None

    @property
    def base_mismatch(self) -> str:
        """The first type that does not belong to this vmlinux, where the module loads all the same."""
        return self.predicted.base_mismatch if self.predicted else ""


class OverriddenEntry(_Part):
    """A file that modprobe passes over for another of its name."""

    name: str
    file: str
    by: str


class FindingEntry(_Part):
    """What speaks against the kernel besides outcomes: by ``--fail-on``'s word, and whether it counts."""

    finding: str
    name: str
    text: str
    counts: bool


@dataclass(frozen=True)
class Fault:
    """Why a module is no pass: ``kind`` in a word, ``text`` in a line, and whether it was never observed."""

    kind: str
    text: str
    unseen: bool = False


class Results(_Part):
    """All of results.json. ``findings`` is None in one that a version wrote which did not keep them."""

    schema_: Annotated[Literal["kbtf-ci/results/1"], Field(alias="schema")]
    kernel: KernelFacts
    modules: tuple[ModuleEntry, ...]
    guest: GuestEntry | None = None
    vmlinux: VmlinuxEntry | None = None
    proof: ProofEntry | None = None
    kfunc_proof: KfuncProofEntry | None = None
    unusable: tuple[_Unusable, ...] = ()
    ended: str | None = None
    fail_on: tuple[str, ...] = ()
    findings: tuple[FindingEntry, ...] | None = None
    totals: Mapping[str, int] = {}
    modes: Mapping[str, int] = {}
    disagreements: tuple[str, ...] = ()
    overridden: tuple[OverriddenEntry, ...] = ()
    warnings: tuple[_Warning, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Results:
        """Return the results in a document, as report/results.py makes it."""
        return cls.model_validate(_told(values))

    @classmethod
    def parse(cls, data: bytes) -> Results:
        """Return the results in the bytes of a results.json. Raises ValueError that says what is wrong."""
        try:
            return cls.of(json.loads(data))
        except ValidationError as error:
            raise ValueError(first_fault(error)) from error
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON: {' '.join(str(error).split())[:200]}") from error

    @property
    def btf_bytes(self) -> int:
        """Bytes of all modules' BTF."""
        return sum(module.btf_bytes for module in self.modules)

    @property
    def verified(self) -> int:
        """How many modules are VERIFIED."""
        return sum(module.outcome is Outcome.VERIFIED for module in self.modules)

    def counts(self, finding: FailOn) -> bool:
        """Return whether a finding ends the run with 1."""
        return finding in self.fail_on

    @property
    def of_the_kernel(self) -> tuple[FindingEntry, ...]:
        """The findings that are of the kernel as a whole, and of no one module."""
        return tuple(one for one in self.findings or () if one.finding in _OF_THE_KERNEL)

    @property
    def passed(self) -> bool:
        """Whether there are modules, all VERIFIED, no finding counts, and the run came to its end."""
        counted = any(one.counts for one in self.findings or ())
        return bool(self.modules) and self.verified == len(self.modules) and not counted and not self.ended

    @property
    def exit_code(self) -> ExitCode:
        """0 or 1, as the command ended that came to its end."""
        return ExitCode.VERIFIED if self.passed else ExitCode.NOT_VERIFIED

    def fault(self, module: ModuleEntry) -> Fault | None:
        """Return why one of the modules is no pass, None where it is."""
        if module.outcome is not Outcome.VERIFIED:
            return Fault(module.outcome.value, module.reason, module.outcome in _UNSEEN)
        if module.base_mismatch and self.counts(FailOn.BASE_MISMATCH):
            return Fault(
                "BASE_MISMATCH", f"loads, but its BTF is not of this vmlinux: {module.base_mismatch}"
            )
        if module.warnings and self.counts(FailOn.WARNING):
            return Fault("WARNING", module.warnings[0].title)
        return None

    def warned(self) -> Iterator[tuple[str, KernelWarning]]:
        """Yield every warning of the kernel with its module, "" for one of none that is known."""
        for module in self.modules:
            yield from ((module.name, one) for one in module.warnings)
        yield from ((one.module, one) for one in self.warnings)


def _told(value: Any) -> Any:
    r"""Return a document whose text is all Unicode: a file name's byte that is none becomes ``\xNN``."""
    if isinstance(value, str):
        return value if value.isascii() else _unicode(value)
    if isinstance(value, Mapping):
        return {_told(key): _told(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_told(one) for one in value]
    return value


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        data = text.encode(errors="surrogateescape" if _is_escaped(text) else "replace")
        return data.decode(errors="backslashreplace")
    return text


def _is_escaped(text: str) -> bool:
    """Whether the lone surrogates are the bytes of a file name (PEP 383)."""
    return not any(0xD800 <= ord(one) < 0xDC80 or 0xDCFF < ord(one) <= 0xDFFF for one in text)
