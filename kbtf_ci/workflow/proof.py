# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``--prove``: what is tried in the guests, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.errors import UsageError
from kbtf_ci.guest.prove import FentryProver
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model.proof import Function, Proof, Traceable, merged
from kbtf_ci.workflow.intake import Intake

# Of them every kernel has some, and ftrace finds each: no header's, no init function, called from everywhere.
_EVERYWHERE: Final = ("vfs_open", "vfs_read", "ksys_read", "do_exit")


def prover_of(btf: bytes, taken: Intake, config: Mapping[str, str], reporter: Reporter) -> FentryProver:
    """Return what tries the functions of all modules. Raises UsageError for a vmlinux that has none."""
    vmlinux = Btf.parse(btf)
    for name in _EVERYWHERE:
        for type_id in vmlinux.find(name, Kind.FUNC):
            probe = Function(type_id, name, Traceable.ATTACHABLE)
            return FentryProver(taken.traced, probe, config, reporter.progress)
    raise UsageError(f"--prove fentry: vmlinux's BTF has none of {', '.join(_EVERYWHERE)}")


def proof_of(prover: FentryProver, taken: Intake) -> Proof:
    """Return what came of it, in the order of the modules."""
    wanted = [module.name for module in taken.modules if taken.traced.get(module.name)]
    proofs = tuple(merged(prover.found, wanted))
    reached = {one.module for one in proofs}
    unreached = () if prover.cannot else tuple(name for name in wanted if name not in reached)
    return Proof(proofs, unreached, prover.cannot, prover.ended, prover.seconds)
