# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What CONFIG_MODULE_ALLOW_BTF_MISMATCH=y makes of a module whose BTF is refused."""

from __future__ import annotations

from typing import Final

from kbtf_ci.btf.cases.case import Altered, AlteredBtf, Case, Healthy, always
from kbtf_ci.btf.cases.edit import written_against
from kbtf_ci.model.case import Expected, Need
from kbtf_ci.model.outcome import Outcome

# pr_warn_once(): the first module of a boot that is refused, without its name.
ONCE: Final = "Kernel module BTF mismatch detected, BTF debug info may be unavailable for some modules"


def _stale(healthy: Healthy) -> Altered:
    return AlteredBtf(written_against(healthy.own, types=-2, string_bytes=-1))


CASES: Final = (
    Case(
        name="mismatch-allowed",
        failure_class=23,
        title="a stale module on a kernel that allows a mismatch",
        story="CONFIG_MODULE_ALLOW_BTF_MISMATCH=y, as in Debian and NixOS: one line a boot that names no "
        "module, the load succeeds, and fentry on it is impossible.",
        source="kernel/bpf/btf.c, btf_module_notify(); quiet of single types since 6.3",
        expected=always(Expected(Outcome.DROPPED, log=(ONCE,))),
        make=_stale,
        since=(6, 3),
        needs=frozenset({Need.MISMATCH}),
    ),
)
