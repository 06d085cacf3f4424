# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One boot's log: written once, its warnings told once, whichever way they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.guest.boot_log import BootLog
from kbtf_ci.guest.kmsg import Record
from kbtf_ci.model.kernel_warning import KernelWarning

WARN = "WARNING: CPU: 0 PID: 9 at x.c:3 f+0x1/0x2"
END = "---[ end trace 0000000000000000 ]---"
Told = list[tuple[str, str]]

PANIC = "watchdog: Watchdog detected hard LOCKUP on cpu 1"


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def log(tmp_path: Path, told: Told) -> BootLog:
    def tell(one: KernelWarning) -> None:
        told.append((one.kind.value, one.module))

    return BootLog(tmp_path / "kmsg.log", tell, emulated=True)


def test_a_report_is_told_once_though_the_log_is_read_again(log: BootLog, told: Told, tmp_path: Path) -> None:
    records = [Record(0, 0, WARN), Record(1, 0, END)]
    log.begin_load("a")
    log.add(records)
    log.begin_load("b")
    log.add(records)
    log.finish()
    assert told == [("warning", "a")]
    assert (tmp_path / "kmsg.log").read_text().count(WARN) == 1


def test_what_the_log_had_told_the_console_does_not_tell_again(log: BootLog, told: Told) -> None:
    log.begin_load("a")
    log.add([Record(0, 0, WARN)])
    log.add_console([WARN, END, PANIC], "a")
    assert told == [("warning", "a"), ("hard-lockup", "a")]


def test_a_record_of_several_lines_is_several_lines(log: BootLog, told: Told) -> None:
    log.add([Record(0, 0, f"driver: hello\n{WARN}\n{END}")])
    assert told == [("warning", "")]
