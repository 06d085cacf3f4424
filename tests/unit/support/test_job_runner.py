# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the runner of GitHub Actions takes for a command: our own reading of it, held to examples."""

from __future__ import annotations

import pytest

from tests.support.job_runner import Command, JobRunner


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("::error::x", Command("error", {}, "x")),
        ("  ::ERROR title=a%3Ab,line=1::5%25%0Ax", Command("ERROR", {"title": "a:b", "line": "1"}, "5%\nx")),
        ("x ##[add-mask]b%5Dc", Command("add-mask", {}, "b]c")),
        ("::debug::##[error]x", Command("debug", {}, "##[error]x")),
        ("::nosuch::##[error]x", Command("error", {}, "x")),
    ],
)
def test_a_command_is_carried_out(line: str, found: Command) -> None:
    runner = JobRunner().take([line])
    assert (runner.acted, runner.shown) == ([found], [])


@pytest.mark.parametrize(
    "line", ["x ::error::y", "::error", "::nosuch::x", "# [error]x", "##[nosuch]x", "##[error"]
)
def test_anything_else_is_shown(line: str) -> None:
    runner = JobRunner().take([line])
    assert (runner.acted, runner.shown) == ([], [line])


def test_what_is_stopped_goes_on_at_its_token_alone() -> None:
    runner = JobRunner().take(["::stop-commands::T1", "::error::x", "::t2::", "::stop-commands::T2"])
    assert runner.is_stopped
    runner.take(["::t1::", "::error::y"])
    assert [one.data for one in runner.acted] == ["y"]
