# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import (
    Death,
    LoadMode,
    Observation,
    Outcome,
    btf_refused,
    errno_text,
    exit_code,
    judge,
    wants_inert,
)

XFS = Module("xfs", "kernel/fs/xfs/xfs.ko", 10, "aa")
REFUSED = ("BPF: [103] ENUM task_fair", "failed to validate module [xfs] BTF: -22")


def seen(**changes: Any) -> Observation:
    return Observation(
        **{"name": "xfs", "mode": LoadMode.REAL, "sysfs_bytes": 10, "sysfs_sha256": "aa", **changes}
    )


@pytest.mark.parametrize(
    ("observation", "outcome"),
    [
        (seen(), Outcome.VERIFIED),
        (seen(sysfs_sha256="bb"), Outcome.MISMATCH),
        (seen(sysfs_bytes=9), Outcome.MISMATCH),
        (seen(sysfs_bytes=None, sysfs_sha256=None), Outcome.DROPPED),
        (seen(errno=22, sysfs_sha256=None, log=REFUSED), Outcome.REJECTED),
        (seen(errno=22, sysfs_sha256=None), Outcome.LOAD_FAILED),
        (seen(errno=19, sysfs_sha256=None), Outcome.LOAD_FAILED),
        (seen(death=Death.PANIC), Outcome.LOAD_FAILED),
    ],
)
def test_the_observation_decides(observation: Observation, outcome: Outcome) -> None:
    assert judge(XFS, [observation]).outcome is outcome


def test_a_module_with_a_base_of_its_own_is_held_to_its_btf_as_moved() -> None:
    module = replace(XFS, base_bytes=5)
    shown = [seen(sysfs_sha256="moved")]
    assert judge(module, shown, "moved").outcome is Outcome.VERIFIED
    assert judge(module, shown, "other").outcome is Outcome.MISMATCH
    assert judge(XFS, shown, "moved").outcome is Outcome.MISMATCH
    assert "as moved from its .BTF.base" in judge(module, shown).reason


def test_what_was_not_observed_is_no_pass() -> None:
    assert judge(XFS, []).outcome is Outcome.NOT_REACHED


def test_a_module_without_btf_says_why() -> None:
    module = Module("xfs", "xfs.ko", 0, "", no_btf_reason="Skipping BTF generation")
    result = judge(module, [seen(sysfs_sha256=None)])
    assert (result.outcome, result.reason) == (Outcome.NO_BTF, "Skipping BTF generation")


def test_the_last_attempt_decides_and_the_others_are_kept() -> None:
    real = seen(errno=19, sysfs_sha256=None)
    inert = seen(mode=LoadMode.INERT)
    result = judge(XFS, [real, inert])
    assert (result.outcome, result.observation, result.earlier) == (Outcome.VERIFIED, inert, (real,))


def test_a_refusal_of_another_module_is_not_this_ones() -> None:
    log = ("failed to validate module [xfs_other] BTF: -22",)
    assert not btf_refused(seen(errno=22, log=log))


def test_the_refusal_line_of_a_load_that_went_on_is_no_refusal() -> None:
    # 5.18 to 6.2 print it under CONFIG_MODULE_ALLOW_BTF_MISMATCH as well.
    assert judge(XFS, [seen(sysfs_sha256=None, log=REFUSED)]).outcome is Outcome.DROPPED


def test_inert_is_for_what_failed_for_another_reason_than_btf() -> None:
    assert wants_inert(seen(errno=19))
    assert wants_inert(seen(death=Death.HANG))
    assert not wants_inert(seen())
    assert not wants_inert(seen(errno=22, log=REFUSED))


def test_errno_has_its_name() -> None:
    assert errno_text(19) == "ENODEV (-19)"
    assert errno_text(524) == "ENOTSUPP (-524)"


def test_exit_code_is_zero_only_for_results_that_are_all_verified() -> None:
    good, bad = judge(XFS, [seen()]), judge(XFS, [])
    assert exit_code([good, good]) is ExitCode.VERIFIED
    assert exit_code([good, bad]) is ExitCode.NOT_VERIFIED
    assert exit_code([]) is ExitCode.NOT_VERIFIED
