# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The folder of a new run, and who gets it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.runs import Run, begun, new_run
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.run_record import GuestProfile
from kbtf_ci.report.terminal import TerminalReporter


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(output: Path | None = None) -> AbstractContextManager[Run]:
    begin = begun("kbtf-ci run", BuildOptions("smoke", 1), GuestProfile(name="smoke"))
    return new_run(output, begin, TerminalReporter(quiet=True))


def test_runs_that_start_together_have_a_folder_each(here: Path) -> None:
    with start() as one, start() as two, start() as three:
        paths = {this.directory.path for this in (one, two, three)}
    assert len(paths) == 3
    assert {path.parent for path in paths} == {here / "runs"}
    assert (here / "runs/latest").resolve() in paths


def test_a_refused_run_leaves_no_folder_behind_but_its_neighbours(here: Path) -> None:
    with start() as kept:
        with pytest.raises(UsageError), start():
            raise UsageError("refused")
        folders = [path for path in (here / "runs").iterdir() if path.is_dir()]
        assert folders == [kept.directory.path]


def test_a_folder_that_the_user_names_is_taken_as_it_is_or_not_at_all(here: Path) -> None:
    with start(here / "mine") as this:
        assert this.directory.path == here / "mine"
    with pytest.raises(UsageError, match="never overwritten"), start(here / "mine"):
        pass
    assert [path.name for path in here.iterdir()] == ["mine"]
