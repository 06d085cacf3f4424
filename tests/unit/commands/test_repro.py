# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci repro``: which words are cases and which the run directory, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.btf.cases.catalogue import CASES
from kbtf_ci.commands.main import main
from tests.support.schemas import valid


def repro(*words: str) -> Result:
    return CliRunner().invoke(main, ["repro", *words])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_list_names_every_case() -> None:
    lines = repro("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [case.name for case in CASES]
    found = json.loads(repro("list", "--json").stdout)
    valid("repro-catalogue", found)
    assert [one["class"] for one in found["cases"]] == [case.failure_class for case in CASES]


def test_show_says_what_is_expected() -> None:
    done = repro("show", "const-dangling")
    assert done.exit_code == 0
    assert "expected: REJECTED EINVAL (-22)" in done.stdout
    assert "failed to validate module [<module>] BTF: -22" in done.stdout
    (entry,) = json.loads(repro("show", "const-dangling", "--json").stdout)["cases"]
    assert entry["name"] == "const-dangling"


@pytest.mark.parametrize("words", [("show", "const-danglin"), ("run", "const-danglin")])
def test_an_unknown_case_is_one_line_with_the_nearest_names(words: tuple[str, ...]) -> None:
    done = repro(*words)
    assert done.exit_code == 2
    first, hint = done.stderr.splitlines()
    assert first == "kbtf-ci: no case is called const-danglin"
    assert "did you mean const-dangling" in hint


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "repro run wants the names of cases, or --all"),
        (("--all", "kind-0"), "repro run wants the names of cases, or --all"),
        (("here", "--config", "smoke", "kind-0"), "here and --config smoke: one kernel, not two"),
        (("./nowhere", "kind-0"), "holds no run"),
        (("here", "./there", "kind-0"), "one run directory, not 2"),
    ],
)
def test_what_cannot_be_run_is_refused_with_a_line(words: tuple[str, ...], message: str) -> None:
    Path("here").mkdir()
    done = repro("run", *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_folder_is_the_run_directory_and_a_case_goes_before_a_folder() -> None:
    Path("kind-0").mkdir()
    Path("runs/latest").mkdir(parents=True)
    assert "runs/latest: holds no run" in repro("run", "kind-0").stderr
    assert "kind-0: holds no run" in repro("run", "./kind-0", "--all").stderr
