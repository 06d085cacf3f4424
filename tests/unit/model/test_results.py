# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest

from kbtf_ci.errors import ExitCode
from kbtf_ci.model.results import Results

MODULE = {"name": "xfs", "file": "kernel/fs/xfs/xfs.ko", "outcome": "VERIFIED", "btf_bytes": 10}
FINDING = {"finding": "proof", "name": "proof", "text": "a panic", "counts": True}


def parsed(**more: Any) -> Results:
    values = {"schema": "kbtf-ci/results/1", "kernel": {"release": "r"}, "modules": [MODULE], **more}
    return Results.parse(json.dumps(values).encode())


def test_what_earlier_versions_did_not_write_may_be_missing() -> None:
    results = parsed()
    assert (results.modules[0].errno, results.findings, results.btf_bytes) == (None, None, 10)


def test_what_later_versions_write_is_passed_over() -> None:
    assert parsed(new={"x": 1}, modules=[{**MODULE, "new": 1}]).verified == 1


@pytest.mark.parametrize(
    "more",
    [
        {"modules": []},
        {"modules": [{**MODULE, "outcome": "DROPPED"}]},
        {"findings": [FINDING]},
        {"ended": "QEMU was killed"},
    ],
)
def test_whatever_is_wrong_is_no_pass(more: dict[str, Any]) -> None:
    assert parsed(findings=[{**FINDING, "counts": False}]).exit_code == ExitCode.VERIFIED
    assert parsed(**more).exit_code == ExitCode.NOT_VERIFIED


def test_a_module_that_loads_with_btf_of_another_vmlinux_is_a_fault_where_that_counts() -> None:
    predicted = {"outcome": "VERIFIED", "base_mismatch": "type [5]", "cause": "relinked"}
    modules = [{**MODULE, "predicted": predicted}]
    counted = parsed(modules=modules, fail_on=["base-mismatch"])
    fault = counted.fault(counted.modules[0])
    assert fault is not None
    assert (fault.kind, fault.unseen) == ("BASE_MISMATCH", False)
    free = parsed(modules=modules, fail_on=[])
    assert free.fault(free.modules[0]) is None


@pytest.mark.parametrize(
    ("name", "read"),
    [("m\udcfc", "m\\xfc"), ("m\ud800", "m?"), ("m\u00fc", "m\u00fc"), ("\udcfc\ud800", "??")],
)
def test_a_name_that_is_no_unicode_can_be_read(name: str, read: str) -> None:
    assert parsed(modules=[{**MODULE, "name": name}]).modules[0].name == read


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"schema": "kbtf-ci/results/2", "kernel": {"release": "r"}, "modules": []}', "results/2"),
        (b'{"schema": "kbtf-ci/results/1", "kernel": {"release": "r"}, "modules": [{}]}', "modules.0.name"),
    ],
)
def test_what_is_wrong_is_said_with_its_key(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Results.parse(data)
