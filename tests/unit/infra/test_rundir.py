# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

import json

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.infra import rundir


def test_a_folder_that_holds_something_is_never_overwritten(tmp_path):
    rundir.create(tmp_path / "run").write_run({"a": 1})
    with pytest.raises(UsageError, match="never overwritten"):
        rundir.create(tmp_path / "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["a"] == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/run: cannot be written: Not a directory"):
        rundir.create(tmp_path / "file" / "run")


def test_latest_points_at_the_newest(tmp_path):
    for name in ("one", "two"):
        rundir.point_latest(rundir.create(tmp_path / name))
    assert (tmp_path / "latest").resolve() == tmp_path / "two"


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no run"):
        rundir.RunDirectory(tmp_path).read_run()
    (tmp_path / "run.json").write_text('{"schema": "other"}')
    with pytest.raises(UsageError, match="schema 'other'"):
        rundir.RunDirectory(tmp_path).read_run()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "run.json"
    rundir.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        rundir.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]
