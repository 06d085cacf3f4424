# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The action and the GitLab template, as their services run them, on a real kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.e2e.conftest import KBTF_CI, Cli, results
from tests.support.composite import Composite
from tests.support.gitlab import job

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work space"
    folder.mkdir()
    return folder


def action(workspace: Path, path: str) -> Composite:
    temp = workspace.parent / "temp"
    temp.mkdir()
    return Composite(ROOT / "action.yml", workspace, temp, {**os.environ, "PATH": path})


def test_the_action_verifies_and_compares(cli: Cli, workspace: Path, smoke_run: Path) -> None:
    baseline = workspace / "baseline"
    (baseline / "kernel").mkdir(parents=True)
    shutil.copy(smoke_run / "results.json", baseline)
    shutil.copy(smoke_run / "kernel/functions.json.gz", baseline / "kernel")
    call = action(workspace, f"{Path(KBTF_CI).parent}:{os.environ['PATH']}")
    done = call({
        "install": "false", "config": "smoke", "args": "--accel auto", "baseline": "baseline/results.json",
        "max-growth": "0%", "max-lost-functions": "0", "max-lost-modules": "0",
    })  # fmt: skip
    assert done.failed == "", done.log
    totals = results(smoke_run)["totals"]
    run = Path(done.outputs.pop("run-directory"))
    assert done.outputs == {
        "verified": str(totals["verified"]), "modules": str(totals["modules"]), "exit-code": "0",
    }  # fmt: skip
    assert totals["verified"] == 60
    assert results(run)["totals"] == totals
    (ccache,) = done.cached
    assert Path(ccache["path"]) == Path(os.environ["KBTF_CI_CACHE"]) / "ccache"
    assert (run / "comparison.html").stat().st_size > 0
    words = ("--baseline", baseline / "results.json", "--markdown", "--no-annotate")
    compared = cli("report", run, *words).stdout
    for once in ((run / "summary.md").read_text(), compared):
        assert done.summary.count(once) == 1

    refused = {"install": "false", "cache": "false", "args": "--timeouts no=1s"}
    assert call(refused).outputs["exit-code"] == "2"


def test_the_action_verifies_what_others_built(workspace: Path, smoke_run: Path) -> None:
    shutil.copy(smoke_run / "kernel/bzImage", workspace / "vmlinuz-smoke")
    call = action(workspace, f"{Path(KBTF_CI).parent}:{os.environ['PATH']}")
    args = f"--modules '{smoke_run / 'kernel/modules'}' --load carrier"
    done = call({"install": "false", "kernel": "vmlinuz-*\n", "args": args})
    assert done.failed == "", done.log
    assert (done.outputs["verified"], done.outputs["exit-code"]) == ("60", "0")


def test_the_action_installs_itself_and_nothing_else_into_path(workspace: Path) -> None:
    """It needs a package index, as the action does."""
    call = action(workspace, os.environ["PATH"])
    done = call({"config": "no/such"})
    assert done.failed == "Keys of the caches", done.log
    assert "kbtf-ci: --config no/such: no such profile or file" in done.log
    assert [path.name for path in (workspace.parent / "temp/kbtf-ci/bin").iterdir()] == ["kbtf-ci"]


@pytest.mark.full
def test_the_gitlab_job_verifies(workspace: Path, smoke_run: Path) -> None:
    programs = workspace / ".kbtf-ci/venv/bin"
    programs.mkdir(parents=True)
    (programs / "kbtf-ci").symlink_to(KBTF_CI)
    env = {**os.environ, "KBTF_CI_BASELINE": str(smoke_run), "KBTF_CI_BUDGETS": "--max-growth=0%"}
    template = ROOT / "examples/ci/kbtf-ci.gitlab-ci.yml"
    said = job(template, ".kbtf-ci", workspace, env, parts=("script",))
    assert "60 VERIFIED" in said
    run = workspace / ".kbtf-ci/run"
    assert results(run)["totals"] == results(smoke_run)["totals"]
    cases = list(ET.parse(run / "junit.xml").iter("testcase"))
    assert (len(cases), [one for one in cases if one.find("failure") is not None]) == (60, [])
    with pytest.raises(subprocess.CalledProcessError) as caught:
        job(template, ".kbtf-ci", workspace, {**env, "KBTF_CI_CONFIG": "no/such"}, parts=("script",))
    assert caught.value.returncode == 2
