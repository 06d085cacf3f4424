# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An interrupt before the engine has answered; what needs a real engine: tests/contract/test_runner.py."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fake_engine import FakeEngine
from tests.support.waiting import PATIENCE_S

# A shell's background job, as a CI may be, hands an ignored SIGINT down to all that it starts.
USER = """
import signal, sys
from kbtf_ci.container import process
from kbtf_ci.container.api import Address
from kbtf_ci.container.process import ContainerRunner
from kbtf_ci.infra.runner import Command

def interrupt(number, frame):
    print("interrupted", flush=True)
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
process._LATE_S = float(sys.argv[2])
runner = ContainerRunner(Address(sys.argv[1], "1.41"), "image", "run", podman=False, rootless=False)
with runner.start(Command(("true",))):
    print("started", flush=True)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path / "engine.sock") as engine:
        yield engine


def interrupted(engine: FakeEngine, late_s: float) -> subprocess.Popen[bytes]:
    """Return a process that was interrupted while the engine owed it an answer."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER, engine.url, str(late_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert engine.asked.wait(PATIENCE_S)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"interrupted\n"
    return process


def test_an_interrupt_takes_no_longer_than_the_engines_answer_and_leaves_nothing(engine: FakeEngine) -> None:
    with interrupted(engine, PATIENCE_S) as process:
        time.sleep(0.5)  # for whoever hangs up
        engine.answer.set()
        assert process.wait(PATIENCE_S) != 0
    assert engine.log == ["made", "removed"]
    assert engine.containers == set()


def test_an_engine_that_refuses_to_remove_what_has_just_ended_is_asked_again(engine: FakeEngine) -> None:
    engine.refusals = 2
    with interrupted(engine, PATIENCE_S) as process:
        engine.answer.set()
        assert process.wait(PATIENCE_S) != 0
    assert engine.log == ["made", "refused", "refused", "removed"]


def test_an_engine_that_never_answers_is_not_waited_for(engine: FakeEngine) -> None:
    with interrupted(engine, 0.2) as process:
        assert process.wait(PATIENCE_S) != 0
    assert engine.log == ["nothing to remove"]
