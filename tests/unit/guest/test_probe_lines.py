# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The probe's lines, as the host reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest import probe
from kbtf_ci.guest.kmsg import KmsgLog, Record
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode, Observation

LINE = {
    "name": "ext2", "mode": "real", "errno": 0, "load_us": 12, "btf": {"bytes": 3, "sha256": "ab"},
    "kmsg_before": ["12,7,1000000,-;kbtf-ci: load real ext2"],
    "kmsg": ["4,8,1500000,-;ext2: one\\x0atwo \\xc3\\xa9"],
}  # fmt: skip


def observed(**others: object) -> Observation:
    """What becomes of the line with ``others`` in it."""
    found = probe.parse(json.dumps({**LINE, **others})).observation
    assert found
    return found


def test_an_answer_becomes_an_observation_with_the_modules_own_lines() -> None:
    answer = probe.parse(json.dumps(LINE))
    seen = answer.observation
    assert seen
    assert (seen.name, seen.mode, seen.errno, seen.load_us) == ("ext2", LoadMode.REAL, 0, 12)
    assert (seen.sysfs_bytes, seen.sysfs_sha256) == (3, "ab")
    assert seen.log == ("ext2: one", "two é")
    assert [record.sequence for record in answer.records] == [7, 8]
    assert [record.sequence for record in answer.before] == [7]


def test_a_module_that_is_there_already_is_only_looked_at_and_counts_as_real() -> None:
    module = Module("ext2", "kernel/fs/ext2.ko", 1, "")
    line = probe.request(LoadMode.CARRIER, module, frozenset({"ext2"}))
    assert line == "look ext2 /lib/modules/kernel/fs/ext2.ko"
    assert probe.request(LoadMode.CARRIER, module, frozenset({"ext4"})).startswith("carrier ext2 ")
    assert observed(mode="look").mode is LoadMode.REAL


def test_no_btf_is_none_and_empty_btf_is_not() -> None:
    assert observed(btf=None).sysfs_sha256 is None
    assert observed(btf={"bytes": 0, "sha256": "e3"}).sysfs_bytes == 0


def test_the_kernels_log_before_the_first_load_is_no_observation() -> None:
    answer = probe.parse(json.dumps({"boot_kmsg": ["6,0,0,-;Linux version"]}))
    assert answer.observation is None
    assert answer.records[0].text == "Linux version"


def test_what_came_since_the_last_load_is_no_observation() -> None:
    answer = probe.parse(json.dumps({**LINE, "name": "-", "mode": "settle", "btf": None}))
    assert answer.observation is None
    assert [record.sequence for record in answer.before] == [7, 8]
    assert answer.during == ()
    assert probe.SETTLE.split() == ["settle", "-", "-"]


@pytest.mark.parametrize(
    "line",
    ["", "sh: /sbin/probe: not found", "[]", "3", "{}", json.dumps({**LINE, "mode": "odd"}),
     json.dumps({**LINE, "errno": None}), json.dumps({**LINE, "kmsg": ["no record"]}),
     json.dumps({**LINE, "btf": {"bytes": 1}}), json.dumps({**LINE, "btf": "none"}),
     '"error"', '["error"]', json.dumps({**LINE, "kmsg": [5]}), json.dumps({**LINE, "load_us": float("inf")}),
     "[" * 100_000, *(json.dumps(LINE)[:length] for length in range(1, len(json.dumps(LINE))))],
    ids=lambda line: f"{line[:20]}...{len(line)}",
)  # fmt: skip
def test_a_line_that_is_no_answer_is_an_error_that_shows_it(line: str) -> None:
    with pytest.raises(InfrastructureError, match="not an answer"):
        probe.parse(line)


def test_the_probes_own_errors_name_the_module() -> None:
    with pytest.raises(InfrastructureError, match=r"ext2: cannot read the module \(errno 2\)"):
        probe.parse(json.dumps({**LINE, "errno": 2, "error": "cannot read the module"}))


def test_a_request_names_mode_module_and_the_guests_path() -> None:
    line = probe.request(LoadMode.INERT, Module("nf_nat", "kernel/net/nf_nat.ko", 1, ""))
    assert line == "inert nf_nat /lib/modules/kernel/net/nf_nat.ko"


def test_a_record_is_written_as_the_console_shows_it() -> None:
    assert Record.parse("6,1,12345678,-;a\\x5cb\\x0anext\n SUBSYSTEM=pci").stamped() == (
        "[   12.345678] a\\b\n[   12.345678] next\n"
    )


def test_a_record_that_comes_twice_is_written_once(tmp_path: Path) -> None:
    log = KmsgLog(tmp_path / "kmsg.log")
    log.add([Record(0, 0, "a"), Record(1, 0, "b")])
    assert log.add([Record(0, 0, "a"), Record(1, 0, "b"), Record(2, 0, "c")]) == (Record(2, 0, "c"),)
    assert (tmp_path / "kmsg.log").read_text() == "".join(f"[    0.000000] {text}\n" for text in "abc")
