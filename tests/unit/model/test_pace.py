# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The remaining time: silent while it would be a guess, then by what was done lately."""

from __future__ import annotations

import pytest

from kbtf_ci.model.pace import Pace


def told(seconds: int, per_second: float, total: int, pace: Pace | None = None) -> list[float | None]:
    """Return what is said in each second of a steady pace, from the start on."""
    pace = pace or Pace()
    return [pace.remaining_s(now, int(now * per_second), total) for now in range(seconds + 1)]


def test_nothing_is_said_in_the_first_seconds() -> None:
    said = told(10, 10, 1000)
    assert said[:10] == [None] * 10
    assert said[10] == pytest.approx(90)


def test_nothing_is_said_of_the_first_few_steps_however_long_they_take() -> None:
    said = told(40, 0.5, 1000)
    assert said[:40] == [None] * 40
    assert said[40] == pytest.approx(1960, rel=0.1)


def test_a_steady_pace_counts_down_to_the_end() -> None:
    said = told(100, 10, 1000)
    assert said[50] == pytest.approx(50)
    assert said[90] == pytest.approx(10)
    assert said[100] is None


def test_what_was_quick_at_first_is_forgotten() -> None:
    pace = Pace()
    for now in range(20):
        pace.remaining_s(now, 20 * now, 1000)
    for now in range(20, 120):
        said = pace.remaining_s(now, 400 + (now - 20), 1000)
    # 499 are done after 119 s, which on the whole would be 120 s for the rest: it goes on at one a second.
    assert said == pytest.approx(501)


def test_one_long_step_is_not_taken_for_an_endless_rest() -> None:
    pace = Pace()
    told(50, 10, 1000, pace)
    assert pace.remaining_s(60, 500, 1000) == pytest.approx(75)
    assert pace.remaining_s(200, 500, 1000) is None


def test_another_amount_begins_anew() -> None:
    pace = Pace()
    assert told(20, 10, 1000, pace)[20] is not None
    assert pace.remaining_s(21, 1, 50) is None
    assert pace.remaining_s(22, 2, 50) is None
    told(20, 10, 1000, pace)
    assert pace.remaining_s(21, 0, 1000) is None


def test_what_was_done_before_it_began_says_nothing_of_the_pace() -> None:
    pace = Pace()
    said = [pace.remaining_s(now, 500 + now, 1000) for now in range(21)]
    assert said[20] == pytest.approx(480)


def test_thousands_of_calls_a_second_are_no_burden() -> None:
    pace = Pace()
    for tick in range(20_000):
        pace.remaining_s(tick / 1000, tick, 20_000)
    assert len(pace._seen) <= 21
