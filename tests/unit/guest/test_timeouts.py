# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import time

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.guest.timeouts import Deadline, Timeouts
from tests.support.guest import HandClock


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("boot=5m", 300), ("boot=30s", 30), ("boot=1.5", 1.5), ("boot=250ms", 0.25), ("boot=1h", 3600)],
)
def test_a_duration_is_understood(text: str, seconds: float) -> None:
    assert Timeouts.parse([text]).boot == seconds


def test_what_is_not_named_keeps_its_default() -> None:
    assert Timeouts.parse(["load=7"]).ssh == Timeouts().ssh


def test_only_defaults_are_scaled() -> None:
    scaled = Timeouts.parse(["load=7"]).scaled(5)
    assert (scaled.load, scaled.boot) == (7, Timeouts().boot * 5)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'bot'") as caught:
        Timeouts.parse(["bot=5m"])
    assert "boot, ssh, load" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["boot=", "boot", "boot=5x", "boot=-1", "boot=0", "boot=soon", "boot=0s", "boot=1m30"]
)
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=f"in {text!r} is not a duration"):
        Timeouts.parse([text])


def test_a_deadline_passes_by_its_clock() -> None:
    clock = HandClock(now=5.0)
    deadline = Deadline(60, clock)
    clock.now = 64.0
    assert (deadline.left, deadline.passed) == (1.0, False)
    clock.now = 66.0
    assert (deadline.left, deadline.passed) == (0.0, True)


def test_without_a_clock_a_deadline_is_in_real_time() -> None:
    assert Deadline(0).passed
    before = time.monotonic()
    left = Deadline(3600).left
    assert 3600 - (time.monotonic() - before) <= left <= 3600
