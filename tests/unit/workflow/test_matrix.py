# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Matrices run on this machine: real commands that end early, and one that is played."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kbtf_ci.errors import ExitCode, UsageError
from kbtf_ci.model.matrix import Cell, CellOutcome, Plan
from kbtf_ci.model.matrix_results import MatrixResults, Standing
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import cell as cells
from kbtf_ci.workflow import matrix as workflow
from kbtf_ci.workflow.matrix import MatrixOptions
from tests.support.schemas import valid
from tests.support.waiting import PATIENCE_S
from tests.unit.schemas.documents import of_results

# Each ends with 2, of a profile or a fragment that is none.
TEXT = """
description = "nothing is built"
[axes]
config = ["nosuch-a.toml", "nosuch-b.toml"]
fragment = ["trace", "nosuch"]
[[expect]]
fragment = "nosuch"
outcome = "refused"
reason = "there is none"
"""


def matrix(folder: Path, text: str = TEXT) -> Plan:
    path = folder / "m.toml"
    path.write_text(text)
    return workflow.plan(str(path))


TWO = MatrixOptions(at_once=2)


def run(plan: Plan, folder: Path, options: MatrixOptions = TWO) -> MatrixResults:
    return workflow.run_matrix(plan, folder, options, TerminalReporter(quiet=True))


def test_each_cell_is_run_and_kept_and_what_is_done_is_not_run_again(tmp_path: Path) -> None:
    plan, folder = matrix(tmp_path), tmp_path / "out"
    found = run(plan, folder)
    assert {one.outcome for one in found.results.values()} == {CellOutcome.REFUSED}
    assert sorted(found.standings.values()) == sorted([Standing.EXPECTED, Standing.UNEXPECTED] * 2)
    assert found.exit_code is ExitCode.NOT_VERIFIED
    first = found.results["nosuch-a.toml/trace"]
    assert (first.exit_code, "nosuch-a.toml" in first.error, first.run) == (2, True, "")
    document = json.loads((folder / "matrix.json").read_text())
    valid("matrix", document)
    assert "nosuch-a.toml/trace" in (folder / "matrix.html").read_text()
    logs = sorted(folder.glob("cells/*/output.log"))
    assert len(logs) == 4
    stamps = [log.stat().st_mtime_ns for log in logs]
    again = run(plan, folder)
    assert again.results == found.results
    assert [log.stat().st_mtime_ns for log in logs] == stamps
    assert workflow.read_results(folder).results == found.results


def test_cells_are_run_anew_when_asked_for_and_stand_beside_what_they_were(tmp_path: Path) -> None:
    plan, folder = matrix(tmp_path), tmp_path / "out"
    run(plan, folder)
    kept = folder / "matrix.json"
    values = json.loads(kept.read_text())
    for one in values["cells"]:
        one["result"] |= {"outcome": "verified", "btf_bytes": 9}
    kept.write_text(json.dumps(values))
    options = MatrixOptions(at_once=2, only=("nosuch-a.toml/trace",), again=True)
    found = run(plan, folder, options)
    assert [one.name for one in found.plan.cells] == ["nosuch-a.toml/trace"]
    assert found.before["nosuch-a.toml/trace"].outcome is CellOutcome.VERIFIED
    assert "verified before" in (folder / "matrix.html").read_text()
    assert workflow.read_results(folder).results["nosuch-b.toml/trace"].outcome is CellOutcome.VERIFIED


def test_what_was_before_stays_for_cells_that_are_not_run_again(tmp_path: Path) -> None:
    plan, folder = matrix(tmp_path), tmp_path / "out"
    run(plan, folder)
    one, other = "nosuch-a.toml/trace", "nosuch-b.toml/trace"
    first = run(plan, folder, MatrixOptions(at_once=2, only=(one,), again=True))
    assert set(first.before) == {one}
    second = run(plan, folder, MatrixOptions(at_once=2, only=(other,), again=True))
    assert set(second.before) == {one, other}
    assert set(workflow.read_results(folder).before) >= {one, other}


def test_a_cell_of_other_options_or_of_another_version_is_run_again(tmp_path: Path) -> None:
    plan, folder = matrix(tmp_path), tmp_path / "out"
    run(plan, folder)
    kept = folder / "matrix.json"
    values = json.loads(kept.read_text())
    values["cells"][0]["result"] |= {"digest": "0", "outcome": "verified"}
    values["cells"][1]["result"] |= {"kbtf_ci": "0.0", "outcome": "verified"}
    kept.write_text(json.dumps(values))
    assert {one.outcome for one in run(plan, folder).results.values()} == {CellOutcome.REFUSED}


def doctored(folder: Path, **values: object) -> None:
    """Let every cell in a folder have come to something else."""
    kept = folder / "matrix.json"
    found = json.loads(kept.read_text())
    for one in found["cells"]:
        one["result"] |= values
    kept.write_text(json.dumps(found))


def test_what_other_options_came_to_is_shown_as_no_cells_result(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run(matrix(tmp_path), folder)
    doctored(folder, outcome="verified")
    plan = matrix(tmp_path, TEXT + "[options]\nsuite = 'forky'\n")
    run(plan, folder, MatrixOptions(at_once=2, only=("nosuch-a.toml/trace",)))
    shown = workflow.read_results(folder)
    assert set(shown.standings.values()) == {Standing.OPEN, Standing.UNEXPECTED}
    assert shown.exit_code is ExitCode.NOT_VERIFIED


def test_budgets_are_held_against_what_was_verified_last(tmp_path: Path) -> None:
    """A failure in between is no baseline."""
    text = TEXT.partition("[[expect]]")[0] + "[[budget]]\nlost-modules = 0\n"
    plan, folder = matrix(tmp_path, text), tmp_path / "out"
    run(plan, folder)
    doctored(folder, outcome="verified", modules=700)
    again = MatrixOptions(at_once=2, again=True)
    assert run(plan, folder, again).exit_code is ExitCode.NOT_VERIFIED  # refused
    found = run(plan, folder, again)
    assert {one.modules for one in found.baseline.values()} == {700}
    assert {one.outcome for one in found.before.values()} == {CellOutcome.REFUSED}
    doctored(folder, outcome="verified", modules=3)
    shown = workflow.read_results(folder)
    assert set(shown.standings.values()) == {Standing.OVER_BUDGET}
    assert shown.over_budget(plan.cells[0]) == ("697 modules fewer, and the budget is 0",)


def test_cells_that_come_back_into_the_plan_are_not_run_again(tmp_path: Path) -> None:
    plan, folder = matrix(tmp_path), tmp_path / "out"
    run(plan, folder)
    log = folder / "cells/nosuch-b.toml__trace/output.log"
    stamp = log.stat().st_mtime_ns
    run(matrix(tmp_path, TEXT.replace(', "nosuch-b.toml"', "")), folder)
    valid("matrix", json.loads((folder / "matrix.json").read_text()))
    assert set(run(matrix(tmp_path), folder).standings) == {cell.name for cell in plan.cells}
    assert log.stat().st_mtime_ns == stamp


def test_a_matrix_of_other_cells_is_left_alone(tmp_path: Path) -> None:
    run(matrix(tmp_path), tmp_path / "out")
    other = matrix(tmp_path, '[axes]\nfragment = ["nosuch"]\n')
    with pytest.raises(UsageError, match=r"holds a matrix of other cells, as nosuch-a\.toml/trace"):
        run(other, tmp_path / "out")


def test_a_cell_that_cannot_begin_leaves_the_others_theirs(tmp_path: Path) -> None:
    plan, folder = matrix(tmp_path), tmp_path / "out"
    run(plan, folder)
    in_the_way = folder / "cells" / plan.cells[0].folder
    shutil.rmtree(in_the_way)
    in_the_way.touch()
    found = run(plan, folder, MatrixOptions(at_once=2, again=True))
    assert found.results[plan.cells[0].name].outcome is CellOutcome.INFRASTRUCTURE
    assert "cannot be made" in found.results[plan.cells[0].name].error
    assert [one.outcome for one in found.results.values()].count(CellOutcome.REFUSED) == 3


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(UsageError, match="holds something else than a matrix"):
        run(matrix(tmp_path), tmp_path / "out")
    (tmp_path / "out/matrix.json").write_text("{}")
    with pytest.raises(UsageError, match="not the results of a matrix"):
        run(matrix(tmp_path), tmp_path / "out")
    run(matrix(tmp_path), tmp_path / "good")
    values = json.loads((tmp_path / "good/matrix.json").read_text())
    first = values["cells"][0]
    verified = {**first["result"], "outcome": "verified"}
    for damage in (
        {"schema": "kbtf-ci/bisect/1"},
        {"axes": [1]},
        {"cells": [{**first, "options": []}]},
        {"cells": [{**first, "choices": {"config": 1}}]},
        {"cells": [{**first, "budget": {"btf_bytes": "x"}, "result": verified}]},
    ):
        (tmp_path / "out/matrix.json").write_text(json.dumps(values | damage))
        with pytest.raises(UsageError, match=r"matrix\.json: not the results of a matrix"):
            workflow.read_results(tmp_path / "out")
    with pytest.raises(UsageError, match="holds no matrix"):
        workflow.read_results(tmp_path)


# Plays kbtf-ci: says who it is, and ends in order when it is asked to.
PLAYED = f"""#!{sys.executable}
import os, signal, sys, time
sys.path.insert(0, {str(Path.cwd())!r})
from kbtf_ci.infra.leash import heed
def ended(*_):
    open("ended", "w").close()
    sys.exit(130)
signal.signal(signal.SIGTERM, ended)
heed()
print("  compile 31 s: 7/9, CC a.o", flush=True)
open("pid", "w").write(str(os.getpid()))
time.sleep(600)
"""


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "played"
    program.write_text(PLAYED)
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(program))
    return tmp_path


def appeared(path: Path) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return path.exists()


def gone(pid: int) -> bool:
    end = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


def test_what_is_stopped_ends_in_order_and_is_no_verdict(played: Path) -> None:
    stop = threading.Event()

    def once_it_runs() -> None:
        assert appeared(played / "pid")
        stop.set()

    threading.Thread(target=once_it_runs).start()
    found = cells.run_cell(Cell({"a": "b"}, {"config": "x"}), played / "cell", 1, cells.Watch(stop))
    assert found.outcome is CellOutcome.NOT_RUN
    assert (played / "ended").exists()


def test_a_cell_that_is_not_verified_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rich = next(iter(of_results()))
    (tmp_path / "results.json").write_text(json.dumps(rich))
    program = tmp_path / "played"
    program.write_text(f"#!/bin/sh\nmkdir cell/run && cp {tmp_path}/results.json cell/run/ && exit 1\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(program))
    watch = cells.Watch(threading.Event())
    found = cells.run_cell(Cell({"a": "b"}, {"config": "x"}), Path("cell"), 1, watch)
    assert found.outcome is CellOutcome.NOT_VERIFIED
    assert found.error.startswith("The run ended early (and ")


@pytest.mark.parametrize(
    ("status", "said"), [(0, "Usage: kbtf-ci"), (1, "Traceback (most recent call last)")]
)
def test_without_results_nothing_is_said_of_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    program = tmp_path / "played"
    program.write_text(f"#!/bin/sh\nprintf '{said}\\n  x\\nImportError: no click\\n'; exit {status}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    found = cells.run_cell(
        Cell({"a": "b"}, {"config": "x"}), tmp_path / "cell", 1, cells.Watch(threading.Event())
    )
    assert found.outcome is CellOutcome.INFRASTRUCTURE
    assert found.error == ("ImportError: no click" if status else "")


def test_what_lies_in_the_users_folder_is_no_module_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    found = cells.run_cell(
        Cell({"a": "b"}, {"accel": "kvmm"}), tmp_path / "cell", 1, cells.Watch(threading.Event())
    )
    assert found.outcome is CellOutcome.REFUSED
    assert "'kvmm' is not one of" in found.error


def test_what_a_cell_says_last_is_told(played: Path) -> None:
    stop, heard = threading.Event(), list[str]()

    def told(line: str) -> None:
        heard.append(line)
        stop.set()

    cells.run_cell(Cell({"a": "b"}, {"config": "x"}), played / "cell", 1, cells.Watch(stop, told))
    assert heard == ["compile 31 s: 7/9, CC a.o"]


def test_a_cell_ends_with_whoever_runs_it_even_where_that_was_killed(played: Path) -> None:
    script = (
        "import sys, threading; from pathlib import Path; from kbtf_ci.model.matrix import Cell\n"
        "from kbtf_ci.workflow import cell\n"
        "sys.executable = sys.argv[1]\n"
        "cell.run_cell(Cell({'a': 'b'}, {'config': 'x'}), Path('cell'), 1, cell.Watch(threading.Event()))"
    )
    runner = subprocess.Popen(
        [os.path.realpath("/proc/self/exe"), "-c", script, str(played / "played")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert appeared(played / "pid")
    pid = int((played / "pid").read_text())
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    assert gone(pid)
    assert (played / "ended").exists()
