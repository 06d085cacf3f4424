# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""In a job of GitHub Actions: nothing of files and guests is a command, and what is wrong is shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

import pytest
from click.testing import CliRunner

from kbtf_ci.commands.github import append_summary
from kbtf_ci.commands.main import main
from kbtf_ci.commands.session import echo, echo_json, finish, publish, reporting
from kbtf_ci.errors import BuildError, InterruptError, UsageError
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.cause import causes
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode, Observation, judge
from kbtf_ci.workflow.verdict import Verdict
from tests.support.job_runner import JobRunner
from tests.support.shapes import NASTY, module, nasty, results

MIB: Final = 1024 * 1024


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A step of a job; the file of its summary."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "step.md"))
    return tmp_path / "step.md"


def say_nasty_things() -> None:
    with reporting(quiet=False, debug=False) as reporter:
        for text in NASTY:
            reporter.stage("stage")
            reporter.note(text)
            reporter.warn(text)
            reporter.progress(text)
            echo([text, f"  {text}"])
            echo([text], err=True)
            echo_json({text: [text]})
        publish(causes(nasty()), "", reporter)
        raise BuildError(NASTY[0], hint="::error::x", detail="\n".join(NASTY))


@pytest.mark.parametrize("in_job", [True, False])
def test_nothing_that_is_printed_is_a_command_but_our_annotations(
    in_job: bool, job: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The runner reads both streams, each for itself: no order of the two may do harm."""
    if not in_job:
        monkeypatch.delenv("GITHUB_ACTIONS")
    with pytest.raises(SystemExit) as end:
        say_nasty_things()
    assert end.value.code == 3
    said = capfd.readouterr()
    out, err = said.out.split("\n"), said.err.split("\n")
    ours = [line for line in err if line.startswith(("::error title=", "::warning title="))]
    assert 0 < len(ours) <= 20
    for runner in (JobRunner().take(out).take(err), JobRunner().take(err).take(out)):
        assert len(runner.acted) == len(ours)
        assert {one.name for one in runner.acted} <= {"error", "warning"}
        assert not runner.is_stopped
    without = JobRunner().take([line for line in err if not line.startswith("::")])
    assert without.acted == []
    assert json.loads(said.out[said.out.rindex("\n{") :]) == {NASTY[-1]: [NASTY[-1]]}


def fail(error: BaseException) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        UsageError("no"),
        BuildError("no"),
        TypeError("no"),
        SystemExit(1),
        BrokenPipeError(),
        InterruptError("no"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_commands_are_taken_again_whatever_ends_a_command(
    error: BaseException, job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BaseException), reporting(quiet=True, debug=True):  # noqa: B017, PT011 - each way out
        fail(error)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("::stop-commands::")
    assert lines[-1] == f"::{lines[0].removeprefix('::stop-commands::')}::"
    runner = JobRunner().take(lines[:-1])
    assert runner.is_stopped
    assert not runner.take(lines[-1:]).is_stopped


def test_no_token_is_used_twice(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with reporting(quiet=True, debug=False):
            pass
    tokens = [line for line in capsys.readouterr().err.splitlines() if "stop-commands" in line]
    assert len(set(tokens)) == 2


SLEEPER: Final = """
import sys, time
from kbtf_ci.commands.session import reporting
with reporting(quiet=True, debug=False):
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_commands_are_taken_again_behind_an_interrupt(number: signal.Signals) -> None:
    env = {**os.environ, "GITHUB_ACTIONS": "true"}
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPER], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 130
    assert f"interrupted by {number.name}" in err
    assert not JobRunner().take(err.splitlines()).is_stopped


def test_outside_of_a_job_nothing_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(quiet=True, debug=False):
        echo(["a line"], err=True)
    assert capsys.readouterr().err == "a line\n"


XFS = Module("xfs", "kernel/fs/xfs/xfs.ko", 10, "aa")


def verdict(folder: Path) -> Verdict:
    facts = KernelFacts("6.12.3", "c0", "130", "gcc 14")
    refused = judge(XFS, [Observation("xfs", LoadMode.REAL, 22, log=("BPF: Invalid magic",))])
    made = Verdict(RunDirectory(folder), facts, None, (refused,))
    made.write()
    return made


@pytest.mark.parametrize("annotate", [True, False])
def test_a_run_annotates_its_job_behind_all_else_and_appends_its_summary(
    annotate: bool, job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit), reporting(quiet=True, debug=False) as reporter:
        finish(verdict(tmp_path), reporter, junit=None, as_json=False, annotate=annotate, bisect=False)
    lines = capsys.readouterr().err.splitlines()
    runner = JobRunner().take(lines)
    assert bool(runner.acted) == job.exists() == annotate
    if annotate:
        assert lines[-1].startswith("::error title=Not loaded%3A EINVAL (-22)::")
        assert "BPF: Invalid magic" in runner.acted[0].data
        assert job.read_text() == (tmp_path / "summary.md").read_text()


def test_without_a_file_for_the_summary_there_is_none(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    assert append_summary("# x\n") == ""
    assert not job.exists()


def test_what_the_step_has_said_already_stays_and_counts(job: Path) -> None:
    job.write_text("before")
    assert append_summary("# x\n") == ""
    assert job.read_text() == "before\n# x\n"
    job.write_bytes(b"x" * (MIB - 200))
    document = "a line of it\n" * 30
    assert append_summary(document) == ""
    assert job.stat().st_size <= MIB
    assert job.read_text().endswith("a line of it\n\nand more, in summary.md of the run directory\n")
    job.write_bytes(b"x" * (MIB - 10))
    assert "GitHub takes no more than 1 MiB" in append_summary(document)
    assert job.stat().st_size == MIB - 10
    job.write_bytes(b"x" * (MIB + 10))
    assert "GitHub takes no more" in append_summary(document)


def test_a_summary_of_exactly_the_limit_is_whole(job: Path) -> None:
    assert append_summary("x" * (MIB - 1) + "\n") == ""
    assert job.stat().st_size == MIB


@pytest.mark.parametrize("place", ["none/step.md", ".", "/dev/full"])
def test_a_summary_that_cannot_be_written_is_one_warning(
    place: str, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / place))
    with reporting(quiet=True, debug=False) as reporter:
        publish(causes(results(module("a"))), "# x\n", reporter)
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "the step's summary cannot be written" in warnings[0]


@pytest.mark.parametrize("command", ["run", "verify"])
def test_the_option_says_when_it_is_on(command: str) -> None:
    text = " ".join(CliRunner().invoke(main, [command, "--help"]).output.split())
    assert "--annotate / --no-annotate" in text
    assert "[default: (in a job of GitHub Actions)]" in text
