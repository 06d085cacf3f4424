# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One module against one kernel, offline: the loader's checks, the BTF's, and what the kernel cannot see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from kbtf_ci.btf.base_match.repeats import OfBase, Repeats
from kbtf_ci.btf.base_match.resolve import BaseMismatch, find_base_mismatch
from kbtf_ci.btf.base_match.targets import Targets
from kbtf_ci.btf.predict.merged import are_fine, whole_btf
from kbtf_ci.btf.rules.check import Kernel, Verdict, check
from kbtf_ci.btf.rules.loader import LoaderCheck, StructModule, check_loader
from kbtf_ci.btf.rules.versions import Rules
from kbtf_ci.errors import UsageError
from kbtf_ci.model.architecture import Architecture
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.version import Version, parse_version
from kbtf_ci.objfile.files import KernelFile, ModuleFile


@dataclass(frozen=True)
class Assessment:
    """What is predicted of one module.

    ``outcome`` is the one that a run would end with; ``loader_check``, ``verdict`` and ``base_mismatch`` are
    the reasons, as far as there are some. ``sysfs_bytes`` and ``sysfs_sha256`` describe
    ``/sys/kernel/btf/<name>``, None and "" where there will be no such file.
    """

    module: ModuleFile
    outcome: Outcome
    loader_check: LoaderCheck | None
    verdict: Verdict
    base_mismatch: BaseMismatch | None

    @property
    def is_fine(self) -> bool:
        """Whether the kernel will take the BTF, and it belongs to this vmlinux."""
        return self.outcome is Outcome.VERIFIED and self.base_mismatch is None and self.loader_check is None

    @property
    def errno(self) -> int:
        """What init_module(2) will return for reasons of BTF or of the checks before it; 0 for success."""
        first = self.loader_check
        return first.errno if first and first.errno else self.verdict.errno

    @property
    def sysfs_bytes(self) -> int | None:
        """Size of the file below /sys/kernel/btf."""
        return None if self.verdict.sysfs is None else len(self.verdict.sysfs)

    @cached_property
    def sysfs_sha256(self) -> str:
        """Digest of its bytes."""
        return "" if self.verdict.sysfs is None else hashlib.sha256(self.verdict.sysfs).hexdigest()


@dataclass(frozen=True)
class Assessor:
    """A kernel that modules are held against. Make it with ``of``."""

    kernel: Kernel
    release: str
    struct: StructModule | None
    targets: Targets | None
    takes_btf: bool
    architecture: Architecture | None = None

    @classmethod
    def of(cls, file: KernelFile, rules: Rules, config: Mapping[str, str]) -> Assessor:
        """Return the assessor for a kernel of these rules and this configuration (``CONFIG_X`` to value)."""
        allows = config.get("CONFIG_MODULE_ALLOW_BTF_MISMATCH") == "y"
        kernel = Kernel.open(file.btf, rules, allow_mismatch=allows, order=file.byte_order)
        vmlinux = kernel.vmlinux
        return cls(
            kernel,
            file.release,
            StructModule.of(vmlinux) if vmlinux else None,
            Targets.of(vmlinux, pointer_bytes=file.pointer_bytes) if vmlinux else None,
            takes_btf=config.get("CONFIG_DEBUG_INFO_BTF_MODULES", "y") == "y",
            architecture=file.architecture,
        )

    def assess(self, module: ModuleFile) -> Assessment:
        """Return what the kernel will say of ``module``, and what it will not see."""
        verdict = check(self.kernel, module.name, module.btf, module.base)
        mismatch = None
        if verdict.btf is not None and self.targets is not None:
            mismatch = find_base_mismatch(verdict.btf, self.targets)
        return self._assessed(module, verdict, mismatch)

    def repeats(self, one: Assessment) -> Repeats:
        """Return what of vmlinux a module's BTF has once more; nothing of one that is refused."""
        btf = one.verdict.btf
        if btf is None or btf.base is None or self._of_vmlinux is None:
            return Repeats()
        return self._of_vmlinux.repeated_in(btf)

    @cached_property
    def _of_vmlinux(self) -> OfBase | None:
        return None if self.kernel.vmlinux is None else OfBase.of(self.kernel.vmlinux)

    def assess_all(self, modules: Sequence[ModuleFile]) -> Iterator[Assessment]:
        """Yield for each of ``modules`` what assess() returns, much sooner where most are fine."""
        parts = [whole_btf(module, self.kernel) for module in modules]
        whole = [part for part in parts if part is not None]
        fine = bool(whole) and self.targets is not None and are_fine(whole, self.kernel, self.targets)
        for module, part in zip(modules, parts, strict=True):
            if fine and part is not None:
                yield self._assessed(module, Verdict(0, 0, "", (), module.btf, btf=part), None)
            else:
                yield self.assess(module)

    def _assessed(self, module: ModuleFile, verdict: Verdict, mismatch: BaseMismatch | None) -> Assessment:
        first = check_loader(module, self.struct, self.release, self.architecture)
        return Assessment(module, self._outcome(module, verdict, first), first, verdict, mismatch)

    def _outcome(self, module: ModuleFile, verdict: Verdict, first: LoaderCheck | None) -> Outcome:
        if not module.btf:
            return Outcome.NO_BTF
        if first is not None and first.errno:
            return Outcome.LOAD_FAILED
        if verdict.newer:
            return Outcome.UNREADABLE
        if verdict.errno:
            return Outcome.REJECTED
        if verdict.sysfs is None or not self.takes_btf:
            return Outcome.DROPPED
        return Outcome.VERIFIED


def kernel_version(forced: str, kernel: KernelFile, modules: Iterable[ModuleFile] = ()) -> Version:
    """Return the version by whose rules to judge: the one forced, the kernel's own, else the modules'.

    Raises UsageError when none can be told.
    """
    if forced:
        version = parse_version(forced)
        if version is None:
            raise UsageError(f"--kernel-version {forced}: not a version", hint="write it as 6.12")
        return version
    for text in chain((kernel.release,), (module.vermagic for module in modules)):
        version = parse_version(text)
        if version is not None:
            return version
    raise UsageError(
        f"{kernel.path}: does not say of which kernel it is", hint="say so: --kernel-version 6.12"
    )
