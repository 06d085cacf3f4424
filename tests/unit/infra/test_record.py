# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import json
import multiprocessing
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from kbtf_ci.errors import BuildError
from kbtf_ci.infra import rundir
from kbtf_ci.infra.locks import exclusive
from kbtf_ci.infra.record import Record
from kbtf_ci.infra.rundir import RunDirectory
from tests.support.records import run_record
from tests.support.waiting import PATIENCE_S


class Told:
    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def progress(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Not of interest here."""

    note = warn = progress


def read(directory: RunDirectory) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(directory.run_json.read_text())
    return values


def test_the_record_is_there_from_the_start_and_after_each_stage(tmp_path: Path) -> None:
    directory, told = rundir.create(tmp_path / "run"), Told()
    record = Record(directory, told, run_record(command="kbtf-ci run", later=[1]))
    with record.track():
        assert read(directory)["status"] == "running"
        with record.stage("source"):
            time.sleep(0.02)
        assert read(directory)["stages"]["source"] >= 0.02
        record.add(skipped_btf={"a.ko": "why"})
    values = read(directory)
    assert (values["status"], values["command"]) == ("done", "kbtf-ci run")
    assert (values["skipped_btf"], values["later"]) == ({"a.ko": "why"}, [1])
    assert told.stages == ["source"]


def test_a_failed_stage_keeps_its_time_and_the_reason(tmp_path: Path) -> None:
    directory = rundir.create(tmp_path / "run")
    record = Record(directory, Told(), run_record())
    with pytest.raises(BuildError), record.track(), record.stage("build"):
        raise BuildError("init/main.c: no")
    values = read(directory)
    assert "build" in values["stages"]
    assert values["status"] == "BuildError: init/main.c: no"


def hold(path: Path, held: Event, release: Event) -> None:
    with exclusive(path):
        held.set()
        release.wait(PATIENCE_S)


def test_a_lock_makes_another_process_wait_and_says_so(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path / "lock", held, release))
    other.start()
    try:
        assert held.wait(PATIENCE_S)
        waited = []

        def waits() -> None:
            waited.append(True)
            release.set()

        with exclusive(tmp_path / "lock", waits):
            assert waited == [True]
    finally:
        release.set()
        other.join()


def test_a_free_lock_is_taken_at_once(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "lock", lambda: pytest.fail("nobody holds it")):
            pass
