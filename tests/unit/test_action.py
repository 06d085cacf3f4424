# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""action.yml, its steps run as GitHub's runner does, around a kbtf-ci that only says how it was called."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from kbtf_ci.commands.main import main
from tests.support.composite import Composite, Done, read_outputs, read_yaml
from tests.support.fake_cli import FakeCli

ACTION = Path(__file__).parents[2] / "action.yml"
GOOD: dict[str, object] = {"status": 0, "totals": {"verified": 60, "modules": 60}}
# None of these may do what a shell would make of them; "touch made" would leave a file in the workspace.
HOSTILE = (
    "'", '"', "`touch made`", "$(touch made)", "a; touch made", "a\ntouch made", "'; touch made; '", "$HOME",
    "*", "~", "\\", "--help", "-x", "%0A::add-path::/evil", "\n::add-path::/evil", "x\ngithub=1",
    "${{ github.token }}", "a\rb", "è ☠", "x" * 10_000,
)  # fmt: skip

Act = Callable[..., Done]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work space"
    folder.mkdir()
    return folder


@pytest.fixture
def fake(tmp_path: Path) -> FakeCli:
    made = FakeCli.make(tmp_path / "bin")
    made.answer({"run": GOOD, "verify": GOOD, "cache-key": {"prints": keys()}})
    return made


@cache
def keys(*words: str) -> str:
    """What the real cache-key has for the runner."""
    done = CliRunner().invoke(main, ["cache-key", "--github", *words], env={"KBTF_CI_CACHE": "/cache"})
    assert done.exit_code == 0
    return done.stdout


@pytest.fixture
def act(fake: FakeCli, workspace: Path, tmp_path: Path) -> Act:
    temp = tmp_path / "temp"
    temp.mkdir()
    path = f"{fake.folder}:{os.environ['PATH']}"
    action = Composite(ACTION, workspace, temp, {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"})

    def call(**inputs: str) -> Done:
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        return action({"install": "false", **named})

    return call


def called(fake: FakeCli, command: str) -> list[list[str]]:
    return [words for words in fake.calls if words[0] == command]


def test_with_no_input_it_runs_what_kbtf_ci_runs_by_itself(act: Act, fake: FakeCli) -> None:
    done = act()
    assert done.failed == "", done.log
    assert done.outputs == {
        "run-directory": done.outputs["run-directory"], "verified": "60", "modules": "60", "exit-code": "0",
    }  # fmt: skip
    assert Path(done.outputs["run-directory"], "results.json").is_file()
    assert called(fake, "run") == [["run", f"--output-dir={done.outputs['run-directory']}"]]
    assert called(fake, "cache-key") == [["cache-key", "--github"]]
    assert not called(fake, "report")


def test_each_input_reaches_the_command_that_wants_it(act: Act, fake: FakeCli, workspace: Path) -> None:
    (workspace / "old.json").touch()
    done = act(
        config="defconfig", directory="linux", sha256="ab", suite="forky", fail_on="warning,proof",
        args="--load carrier -K 'CONFIG_A=\"x y\"'\nCC=clang", baseline="old.json", max_growth="2.5%",
        max_btf_bytes="10", max_lost_functions="0", max_lost_modules="1",
    )  # fmt: skip
    assert done.failed == "", done.log
    (run,) = called(fake, "run")
    assert run[1:-1] == [
        "--config=defconfig", "--directory=linux", "--sha256=ab", "--suite=forky", "--fail-on=warning,proof",
        "--load", "carrier", "-K", 'CONFIG_A="x y"', "CC=clang",
    ]  # fmt: skip
    (asked,) = called(fake, "cache-key")
    assert asked[2:] == ["--config=defconfig", "--directory=linux", "--sha256=ab", "--suite=forky"]
    run_directory = done.outputs["run-directory"]
    (report,) = called(fake, "report")
    assert report[1:] == [
        run_directory, "--baseline=old.json", f"--html={run_directory}/comparison.html", "--max-btf-bytes=10",
        "--max-growth=2.5%", "--max-lost-functions=0", "--max-lost-modules=1",
    ]  # fmt: skip
    assert done.summary == ""  # kbtf-ci's own


def test_caches_are_restored_by_their_keys(act: Act, fake: FakeCli) -> None:
    (ccache,) = act().cached
    key = read_outputs(keys())["ccache-key"]
    assert ccache["path"] == "/cache/ccache"
    assert ccache["key"] == f"{key}-4711-1"
    nearest = ["kbtf-ci-ccache-trixie-smoke-", "kbtf-ci-ccache-trixie-"]
    assert ccache["restore-keys"].split() == [f"{key}-", *nearest]
    assert act(cache="false").cached == []
    of_url = keys("--btf-cache", "-C", "https://a/b", "--sha256", "ab" * 32)
    fake.answer({"run": GOOD, "cache-key": {"prints": of_url}})
    assert [Path(one["path"]).name for one in act().cached] == [f"download-{'ab' * 32}", "ccache", "btf"]


def test_a_kernel_that_others_built_is_verified(act: Act, fake: FakeCli, workspace: Path) -> None:
    for name in ("linux-image-1.deb", "linux-image 2.deb", "other.deb"):
        (workspace / name).touch()
    done = act(kernel="linux-image-*.deb\nlinux-image *.deb\nrunning\n", suite="forky", args="--modules m")
    assert done.failed == "", done.log
    (words,) = called(fake, "verify")
    assert words[1:-1] == [
        "--kernel=linux-image-1.deb", "--kernel=linux-image 2.deb", "--kernel=running", "--suite=forky",
        "--modules", "m",
    ]  # fmt: skip
    assert not called(fake, "cache-key")
    assert done.cached == []
    assert done.outputs["verified"] == "60"


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 5, 130])
def test_the_exit_code_is_kbtf_cis(act: Act, fake: FakeCli, status: int) -> None:
    totals = {"verified": 59, "modules": 60} if status in (1, 4) else {}
    fake.answer({"run": {"status": status, "totals": totals}})
    done = act(cache="false")
    assert bool(done.failed) == bool(status)
    assert done.outputs["exit-code"] == str(status)
    assert done.outputs["verified"] == ("59" if totals else "")
    assert Path(done.outputs["run-directory"], "run.json").is_file()


def test_a_run_that_is_refused_has_no_directory(act: Act, fake: FakeCli) -> None:
    fake.answer({"run": {"status": 2}})
    done = act(cache="false")
    assert done.outputs == {"run-directory": "", "verified": "", "modules": "", "exit-code": "2"}


@pytest.mark.parametrize(("ran", "compared", "code"), [
    (0, 0, "0"), (0, 1, "1"), (1, 0, "1"), (1, 1, "1"), (0, 2, "2"), (1, 2, "1"),
])  # fmt: skip
def test_a_budget_that_is_not_kept_fails_it(
    act: Act, fake: FakeCli, workspace: Path, ran: int, compared: int, code: str
) -> None:
    (workspace / "old").mkdir()
    fake.answer({"run": {**GOOD, "status": ran}, "report": {"status": compared}})
    done = act(baseline="old", max_growth="2%", cache="false")
    assert done.outputs["exit-code"] == code
    assert bool(done.failed) == (code != "0")


def test_without_a_baseline_budgets_are_not_held_and_that_is_said(act: Act, fake: FakeCli) -> None:
    done = act(max_growth="2%")
    assert "::notice title=kbtf-ci::no baseline" in done.log
    assert done.outputs["exit-code"] == "0"
    assert not called(fake, "report")


@pytest.mark.parametrize(("inputs", "words"), [
    ({"baseline": "no/such"}, "baseline: 'no/such' is not there"),
    ({"max_growth": "much"}, "max-growth: 'much' is not a percentage"),
    ({"max_lost_functions": "-1"}, "max-lost-functions: '-1' is no number"),
    ({"max_lost_modules": "1\n2"}, "max-lost-modules: '1%0A2' is no number"),
    ({"max_btf_bytes": "1k"}, "max-btf-bytes: '1k' is no number"),
    ({"kernel": "*.deb"}, "kernel: '*.deb' is not there"),
    ({"kernel": "running", "config": "smoke"}, "kernel is one that others built"),
    ({"args": "--append 'a"}, "args: a quote is not closed"),
    ({"cache": "yes"}, "cache: 'yes' is neither true nor false"),
    ({"install": ""}, "install: '' is neither true nor false"),
])  # fmt: skip
def test_what_cannot_be_is_one_line_before_anything_runs(
    act: Act, fake: FakeCli, inputs: dict[str, str], words: str
) -> None:
    done = act(**inputs)
    (error,) = done.errors
    assert error.startswith(f"::error title=kbtf-ci::{words}")
    assert done.failed
    assert not called(fake, "run")
    assert not called(fake, "verify")


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_input_is_passed_as_it_is(act: Act, fake: FakeCli, workspace: Path, value: str) -> None:
    names = ("config", "directory", "sha256", "suite", "fail_on")
    done = act(**dict.fromkeys(names, value))
    assert list(workspace.iterdir()) == []
    assert done.outputs["exit-code"] == "0", done.log
    (words,) = called(fake, "run")
    assert words[1:-1] == [f"--{name.replace('_', '-')}={value}" for name in names]


@pytest.mark.parametrize(("name", "value"), [
    *(("kernel", value) for value in HOSTILE),
    *((name, HOSTILE[5]) for name in (
        "baseline", "max_growth", "max_btf_bytes", "max_lost_functions", "max_lost_modules", "cache",
        "install",
    )),
])  # fmt: skip
def test_a_hostile_input_of_another_kind_is_one_error(
    act: Act, fake: FakeCli, workspace: Path, name: str, value: str
) -> None:
    if name == "kernel" and value in ("*", "~"):
        value = f"no/{value}"
    done = act(**{name: value})
    (error,) = done.errors
    assert done.failed
    assert done.outputs["verified"] == ""
    assert error.count("\r") == 0
    # A line of its own would be a command to the runner.
    assert [line for line in re.split(r"[\r\n]", done.log) if line.lstrip().startswith("::")] == [error]
    assert list(workspace.iterdir()) == []
    assert not called(fake, "run")


@pytest.mark.parametrize(("value", "words"), [
    ("$(touch made) `touch made`", ["$(touch", "made)", "`touch", "made`"]),
    ("--append 'a \"b\" $(touch made)'", ["--append", 'a "b" $(touch made)']),
    ("a;touch made\n&& *", ["a;touch", "made", "&&", "*"]),
    ("# no comment", ["#", "no", "comment"]),
    ("-- -x", ["--", "-x"]),
    ("'a\nb' ''", ["a\nb", ""]),
])  # fmt: skip
def test_words_are_split_and_never_expanded(
    act: Act, fake: FakeCli, workspace: Path, value: str, words: list[str]
) -> None:
    act(args=value)
    assert called(fake, "run")[0][1:-1] == words
    assert list(workspace.iterdir()) == []


def test_the_trees_own_modules_are_not_pythons(act: Act, workspace: Path) -> None:
    for name in ("shlex", "json", "os", "venv"):
        (workspace / f"{name}.py").write_text("open('made', 'w')")
    done = act(args="-j 2")
    assert done.outputs["verified"] == "60"
    assert not (workspace / "made").exists()


def test_without_a_program_to_call_it_says_so(act: Act, fake: FakeCli) -> None:
    (fake.folder / "kbtf-ci").write_text("#!/bin/false\n")
    done = act()
    assert done.failed == "Install kbtf-ci"
    assert "PATH has no kbtf-ci that runs" in done.errors[0]


def steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_yaml(ACTION)["runs"]["steps"]
    return found


def test_inputs_reach_scripts_by_variables_alone() -> None:
    text = ACTION.read_text()
    assert all("${{" not in step.get("run", "") for step in steps())
    given = re.findall(r"^ +(\S+): (\$\{\{ inputs\..*)$", text, re.MULTILINE)
    assert text.count("inputs.") == len(given) > 20
    for name, value in given:
        assert value == f"${{{{ inputs.{name.removeprefix('INPUT_').lower().replace('_', '-')} }}}}"


def test_each_script_is_a_steps_and_uses_what_it_is_given() -> None:
    scripts = {path.stem: path.read_text() for path in (ACTION.parent / "ci").glob("*.sh")}
    called = {}
    for step in steps():
        if "run" in step:
            (name,) = re.fullmatch(r'bash "\$GITHUB_ACTION_PATH/ci/(\w+)\.sh"', step["run"]).groups()  # type: ignore[union-attr]
            called[name] = set(step["env"])
    assert called.keys() == scripts.keys() - {"common"}
    for name, given in called.items():
        used = set(re.findall(r"\b(?:INPUT|RUN)_[A-Z0-9_]+\b", scripts[name]))
        assert used == given, name
