# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""examples/ci: what users copy fits the action, and its scripts run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.composite import read_yaml
from tests.support.fake_cli import FakeCli
from tests.support.gitlab import job

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/howto/ci.md"
FOLDER = ROOT / "examples/ci"
GITLAB = FOLDER / "kbtf-ci.gitlab-ci.yml"
WORKFLOWS = sorted(set(FOLDER.glob("*.yml")) - {GITLAB})
HOSTILE = ("'", '"', "$(touch made)", "`touch made`", "a;touch made", "--help", "*", "${HOME}", "è")


def test_each_is_told_of_where_ci_is() -> None:
    page = PAGE.read_text()
    assert len(WORKFLOWS) == 3
    assert all(f"examples/ci/{path.name}" in page for path in FOLDER.iterdir())


def jobs(file: Path) -> Iterator[dict[str, Any]]:
    yield from read_yaml(file)["jobs"].values()


def uses(file: Path, action: str) -> list[dict[str, Any]]:
    return [step for one in jobs(file) for step in one["steps"] if step.get("uses", "").startswith(action)]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_fits_the_action(file: Path) -> None:
    action = read_yaml(ROOT / "action.yml")
    (step,) = uses(file, "OWNER/kbtf-ci@v1")
    assert step["with"].keys() <= action["inputs"].keys()
    used = set(re.findall(rf"steps\.{step['id']}\.outputs\.([a-z-]+)", file.read_text()))
    assert used
    assert used <= action["outputs"].keys()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_do_no_more_than_it_must(file: Path) -> None:
    document = read_yaml(file)
    assert document["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in document["on"]
    assert document["concurrency"]["group"]
    assert all(one["timeout-minutes"] <= 240 and "permissions" not in one for one in jobs(file))
    assert all(step["with"]["persist-credentials"] is False for step in uses(file, "actions/checkout@"))
    foreign = [step["uses"] for one in jobs(file) for step in one["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[a-z/-]+@[0-9a-f]{40}|OWNER/kbtf-ci@v1", one) for one in foreign)
    assert all("${{" not in step.get("run", "") for one in jobs(file) for step in one["steps"])


def test_the_pages_workflow_fits_the_action() -> None:
    (snippet,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (step,) = re.findall(r"uses: OWNER/kbtf-ci@v1\n +with:\n((?: +[a-z-]+: .*\n)+)", snippet)
    names = set(re.findall(r"^ +([a-z-]+):", step, re.MULTILINE))
    assert names <= read_yaml(ROOT / "action.yml")["inputs"].keys()


def test_what_a_workflow_keeps_is_what_a_comparison_reads(tmp_path: Path) -> None:
    for file in (path for path in WORKFLOWS if "Keep" in path.read_text()):
        steps = [step for one in jobs(file) for step in one["steps"]]
        (script,) = [step["run"] for step in steps if step.get("name", "").startswith("Keep")]
        run = tmp_path / file.stem / "a run"
        (run / "kernel").mkdir(parents=True)
        for name in ("results.json", "kernel/functions.json.gz"):
            (run / name).write_text(name)
        env = {**os.environ, "RUN": str(run)}
        subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=run.parent, env=env, check=True)
        kept = run.parent / "baseline"
        assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*.*")) == [
            "kernel/functions.json.gz", "results.json",
        ]  # fmt: skip


class Pipeline:
    """The GitLab template in a project whose environment holds a kbtf-ci that says how it was called."""

    def __init__(self, project: Path) -> None:
        self.project = project
        (project / ".kbtf-ci/venv").mkdir(parents=True)
        self.fake = FakeCli.make(project / ".kbtf-ci/venv/bin")

    def __call__(self, status: int = 0, compared: int = 0, /, **variables: str) -> list[list[str]]:
        totals = {"verified": 1, "modules": 1}
        answer: dict[str, object] = {"status": status, "totals": totals}
        self.fake.answer({"run": answer, "verify": answer, "report": {"status": compared}})
        shutil.rmtree(self.project / ".kbtf-ci/run", ignore_errors=True)
        env = {"PATH": os.environ["PATH"], "HOME": "/home/nobody", "LC_ALL": "C.UTF-8", **variables}
        job(GITLAB, ".kbtf-ci", self.project, env, parts=("script",))
        return self.fake.calls


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    project = tmp_path / "my project"
    project.mkdir()
    return Pipeline(project)


def test_the_gitlab_job_calls_what_its_variables_say(pipeline: Pipeline) -> None:
    out = "--output-dir=.kbtf-ci/run"
    assert pipeline() == [["run", "--config=smoke", out]]
    assert pipeline(KBTF_CI_DIRECTORY="a b", KBTF_CI_ARGS="--load  inert")[1:] == [
        ["run", "--config=smoke", "--directory=a b", "--load", "inert", out]
    ]
    budgets = "--max-growth=2% --quiet"
    calls = pipeline(KBTF_CI_KERNEL="a.deb", KBTF_CI_BASELINE="old", KBTF_CI_BUDGETS=budgets)
    assert calls[2:] == [
        ["verify", "--kernel=a.deb", out],
        ["report", ".kbtf-ci/run", "--baseline=old", "--max-growth=2%", "--quiet"],
    ]
    junit = pipeline.project / read_yaml(GITLAB)[".kbtf-ci"]["artifacts"]["reports"]["junit"]
    assert junit.is_file()


@pytest.mark.parametrize(("status", "compared", "code", "calls"), [
    (1, 0, 1, 2), (0, 1, 1, 2), (0, 2, 2, 2), (1, 2, 1, 2), (3, 0, 3, 1), (0, 0, 0, 2),
])  # fmt: skip
def test_the_gitlab_job_ends_with_the_verdict(
    pipeline: Pipeline, status: int, compared: int, code: int, calls: int
) -> None:
    ended = 0
    try:
        pipeline(status, compared, KBTF_CI_BASELINE="old")
    except subprocess.CalledProcessError as error:
        ended = error.returncode
    assert (ended, len(pipeline.fake.calls)) == (code, calls)


@pytest.mark.parametrize("value", HOSTILE)
def test_no_shell_reads_the_variables_of_the_gitlab_job(pipeline: Pipeline, value: str) -> None:
    before = set(pipeline.project.rglob("*"))
    names = ("KBTF_CI_CONFIG", "KBTF_CI_DIRECTORY", "KBTF_CI_BASELINE", "KBTF_CI_ARGS", "KBTF_CI_BUDGETS")
    run, report = pipeline(**dict.fromkeys(names, value))
    assert run == ["run", f"--config={value}", f"--directory={value}", *value.split(), run[-1]]
    assert report == ["report", ".kbtf-ci/run", f"--baseline={value}", *value.split()]
    (verify, _) = pipeline(KBTF_CI_KERNEL=value, KBTF_CI_BASELINE="old")[2:]
    assert verify[1] == f"--kernel={value}"
    made = {path.name for path in set(pipeline.project.rglob("*")) - before}
    assert made == {"run", "run.json", "junit.xml", "results.json"}
