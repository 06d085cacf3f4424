# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What ``kbtf-ci bisect`` hands on, and which calls it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from kbtf_ci.errors import InterruptError
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model.bisect import Commit, Ends, Found, Judgement, Mark, Standing, Step, Subject
from kbtf_ci.workflow import bisect as workflow

ONE, TWO = Commit("1" * 40, "one"), Commit("2" * 40, "two \x1b[31m", "Ada", "2026-03-01T10:00:00+00:00")
STEPS = (
    Step(ONE, Judgement(Mark.GOOD, "fine"), 1.0, "/1"),
    Step(TWO, Judgement(Mark.BAD, "bad", "xfs"), 2.0, "/2"),
)
STANDING = Standing(ends=Ends(good=ONE, bad=TWO), folder="/runs", steps=STEPS)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[workflow.BisectOptions]:
    """What reaches the workflow."""
    asked: list[workflow.BisectOptions] = []

    def bisect(options: workflow.BisectOptions, output: Path | None, reporter: Reporter) -> workflow.Bisected:
        asked.append(options)
        if options.good == "interrupted":
            raise InterruptError("interrupted by SIGINT", hint="the same command goes on")
        found = Found(None, (ONE, TWO)) if options.good == "hidden" else Found(TWO)
        return workflow.Bisected(options.subject, Path("/tree"), STANDING, found, None, None, "xfs")

    monkeypatch.setattr(workflow, "bisect", bisect)
    return asked


def call(*words: str | Path) -> Result:
    done = CliRunner().invoke(main, ["bisect", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done


def test_options_are_those_of_a_run(asked: list[workflow.BisectOptions], tmp_path: Path) -> None:
    words = (
        "-K",
        "CONFIG_X=m",
        "--append",
        "quiet",
        "--load",
        "carrier",
        "--module",
        "nf-tables",
        "KCFLAGS=-O2",
    )
    done = call("--good", "a", "--bad", "b", "-C", tmp_path, *words, "--broken", "bad")
    assert done.exit_code == 0, done.output
    one = asked[0]
    assert (one.good, one.bad, one.module, one.broken, one.subject) == (
        "a",
        "b",
        "nf_tables",  # a module's own name: the kernel writes '-' as '_'
        Mark.BAD,
        Subject.KERNEL,
    )
    assert (one.build.added, one.build.variables, one.guest.append) == (
        ("CONFIG_X=m",),
        ("KCFLAGS=-O2",),
        "quiet",
    )


def test_a_tree_of_pahole_is_what_is_bisected(asked: list[workflow.BisectOptions], tmp_path: Path) -> None:
    call("--good", "a", "--bad", "b", "--pahole-tree", tmp_path)
    assert (asked[0].subject, asked[0].build.pahole_tree) == (Subject.PAHOLE, tmp_path.resolve())


@pytest.mark.parametrize(("good", "code"), [("a", 0), ("hidden", 1), ("interrupted", 130)])
def test_exit_codes(asked: list[workflow.BisectOptions], good: str, code: int) -> None:
    assert call("--good", good, "--bad", "b", "-C", "tree").exit_code == code


def test_a_commits_words_steer_no_terminal(asked: list[workflow.BisectOptions]) -> None:
    assert "\x1b" not in call("--good", "a", "--bad", "b", "-C", "tree").output


@pytest.mark.parametrize("command", ["bisect", "run", "build"])
def test_a_program_and_a_source_of_pahole_are_one_too_many(command: str, tmp_path: Path) -> None:
    (tmp_path / "pahole").touch()
    ends = ("--good", "a", "--bad", "b") if command == "bisect" else ()
    words = (command, *ends, "--pahole", str(tmp_path / "pahole"), "--pahole-tree", str(tmp_path))
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "one of them at a time" in done.output
