# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``--prove``: what is tried in the guests, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.format.lookup import enumerator
from kbtf_ci.btf.format.reader import Btf, BtfError
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.programs import program_kinds
from kbtf_ci.btf.usable.registered import registered_kfuncs
from kbtf_ci.errors import UsageError
from kbtf_ci.guest.prove import FentryProver, Prover, Provers
from kbtf_ci.guest.prove_kfunc import KfuncProver
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model.kfunc_proof import VMLINUX, KfuncProof, RegisteredKfunc
from kbtf_ci.model.proof import Function, Proof, Prove, Traceable, merged
from kbtf_ci.model.usable import Unusable
from kbtf_ci.objfile.files import OpenKernel
from kbtf_ci.workflow.intake import Intake

# Of them every kernel has some, and ftrace finds each: no header's, no init function, called from everywhere.
_EVERYWHERE: Final = ("vfs_open", "vfs_read", "ksys_read", "do_exit")
_MULTI: Final = "BPF_TRACE_FENTRY_MULTI"  # enum bpf_attach_type, since 7.2


@dataclass(frozen=True)
class KernelToProve:
    """The kernel's file, its configuration, and those of its kfuncs that no program can call."""

    opened: OpenKernel
    config: Mapping[str, str]
    unusable: Sequence[Unusable]

    def btf(self) -> Btf:
        """Return vmlinux's BTF. Raises UsageError where it cannot be read."""
        try:
            return Btf.parse(self.opened.file.btf)
        except BtfError as error:
            raise UsageError(f"{self.opened.file.path}: --prove: {error.message}") from error

    def kfuncs(self, vmlinux: Btf) -> list[RegisteredKfunc]:
        """Return vmlinux's own, none where the file is its BTF alone."""
        image = self.opened.vmlinux
        return [] if image is None else list(registered_kfuncs(image, vmlinux, VMLINUX, self.unusable))


@dataclass(frozen=True)
class Proving:
    """What tries the functions of all modules, and the kfuncs; None for what was not asked for."""

    fentry: FentryProver | None = None
    kfunc: KfuncProver | None = None

    @classmethod
    def of(cls, asked: Prove, kernel: KernelToProve, taken: Intake, reporter: Reporter) -> Proving:
        """Return what was asked for. Raises UsageError for a vmlinux that has no function to try first."""
        vmlinux = kernel.btf()
        fentry = kfunc = None
        if asked in {Prove.KFUNC, Prove.ALL}:
            kfuncs = {VMLINUX: kernel.kfuncs(vmlinux), **taken.kfuncs}
            kfunc = KfuncProver(kfuncs, program_kinds(vmlinux), kernel.config, reporter.progress)
        if asked in {Prove.FENTRY, Prove.ALL}:
            fentry = fentry_prover(vmlinux, taken.traced, kernel.config)
            fentry.told = reporter.progress
        return cls(fentry, kfunc)

    @property
    def prover(self) -> Prover | None:
        """What a guest is given. Kfuncs first: programs on functions stay where they are, and slow them."""
        found: list[Prover] = [one for one in (self.kfunc, self.fentry) if one is not None]
        return Provers(found) if found else None

    def proof(self, taken: Intake) -> Proof | None:
        """Return what came of the functions, in the order of the modules."""
        if self.fentry is None:
            return None
        prover = self.fentry
        wanted = [module.name for module in taken.modules if taken.traced.get(module.name)]
        proofs = tuple(merged(prover.found, wanted))
        reached = {one.module for one in proofs}
        unreached = () if prover.cannot else tuple(name for name in wanted if name not in reached)
        return Proof(proofs, unreached, prover.cannot, prover.ended, prover.seconds)

    def kfunc_proof(self) -> KfuncProof | None:
        """Return what came of the kfuncs, vmlinux's first."""
        if self.kfunc is None:
            return None
        prover = self.kfunc
        order = {owner: place for place, owner in enumerate(prover.kfuncs)}
        answers = tuple(sorted(prover.found, key=lambda one: order[one.kfunc.owner]))
        reached = {one.kfunc.owner for one in answers}
        wanted = [owner for owner, kfuncs in prover.kfuncs.items() if kfuncs]
        unreached = () if prover.cannot else tuple(owner for owner in wanted if owner not in reached)
        cannot = prover.cannot or ("" if wanted else _NONE_TOLD)
        return KfuncProof(
            answers, tuple(prover.live), prover.programs, unreached, cannot, prover.ended, prover.seconds
        )


_NONE_TOLD: Final = (
    "no kfuncs to call: before 6.9 nothing in a kernel's files marks their sets (--prove fentry needs none)"
)


def fentry_prover(
    vmlinux: Btf, functions: Mapping[str, Sequence[Function]], config: Mapping[str, str]
) -> FentryProver:
    """Return what tries functions of modules, by the modules' names.

    Raises UsageError for a vmlinux that has none to try first.
    """
    for name in _EVERYWHERE:
        for type_id in vmlinux.find(name, Kind.FUNC):
            probe = Function(type_id, name, Traceable.ATTACHABLE)
            return FentryProver(functions, probe, config, enumerator(vmlinux, _MULTI) or 0)
    raise UsageError(f"--prove fentry: vmlinux's BTF has none of {', '.join(_EVERYWHERE)}")
