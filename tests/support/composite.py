# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Runs the steps of a composite action as the runner of GitHub Actions does, as far as ours needs it.

Read in actions/runner: CompositeActionHandler (a failed step ends it, outputs are evaluated all the same),
FileCommandManager (what the files GITHUB_OUTPUT and the like may hold). Whatever the action has and this does
not know is an error: nothing is passed over.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_PINNED = re.compile(r"actions/cache@[0-9a-f]{40}")
# "run" and "uses" are two kinds of a step.
_KEYS = {"run": {"name", "id", "if", "shell", "run", "env"}, "uses": {"name", "if", "uses", "with"}}
_GITHUB = {"github.run_id": "4711", "github.run_attempt": "1"}


def read_yaml(path: Path) -> Any:
    """Read YAML 1.2, as both services do: "on" is a string."""
    return YAML(typ="safe").load(path)


def read_outputs(text: str) -> dict[str, str]:
    """Read what a step wrote to GITHUB_OUTPUT. Raises ValueError for what the runner refuses."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in filter(None, lines):
        # Whichever of the two comes first says which form it is.
        match = re.match(r"(.+?)(<<|=)(.*)", line)
        if match is None:
            raise ValueError(f"no output: {line!r}")
        name, form, rest = match.groups()
        found[name] = rest if form == "=" else "\n".join(_until(rest, lines))
    return found


def _until(delimiter: str, lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line == delimiter:
            return
        yield line
    raise ValueError(f"the delimiter {delimiter!r} does not come")


@dataclass
class Done:
    """What came of a call; ``failed`` names the step that ended it, ``cached`` is what actions/cache got."""

    outputs: dict[str, str] = field(default_factory=dict)
    cached: list[dict[str, str]] = field(default_factory=list)
    log: str = ""
    summary: str = ""
    failed: str = ""

    @property
    def errors(self) -> list[str]:
        return [line for line in self.log.splitlines() if line.startswith("::error")]


@dataclass
class Composite:
    """An action, called in ``workspace`` with the variables ``env``; ``temp`` is the job's own folder."""

    action: Path
    workspace: Path
    temp: Path
    env: Mapping[str, str]

    def __call__(self, inputs: Mapping[str, str]) -> Done:
        document = read_yaml(self.action)
        if document["runs"]["using"] != "composite":
            raise ValueError("it is no composite action")
        unknown = inputs.keys() - document["inputs"].keys()
        if unknown:
            raise ValueError(f"no inputs of the action: {unknown}")
        values = {name: str(one.get("default", "")) for name, one in document["inputs"].items()}
        job = _Job(self, {**values, **inputs}, dict(self.env))
        for step in document["runs"]["steps"]:
            if not job.step(step):
                break
        outputs = {name: job.evaluated(one["value"]) for name, one in document["outputs"].items()}
        job.done.outputs = outputs
        return job.done


@dataclass
class _Job:
    action: Composite
    inputs: Mapping[str, str]
    env: dict[str, str]
    steps: dict[str, dict[str, str]] = field(default_factory=dict)
    done: Done = field(default_factory=Done)

    def step(self, step: Mapping[str, Any]) -> bool:
        """Take a step; return whether the next one is taken."""
        kind = "run" if "run" in step else "uses"
        if unknown := step.keys() - _KEYS[kind]:
            raise ValueError(f"{step['name']}: what is {unknown}?")
        if "id" in step:
            self.steps[step["id"]] = {}
        if "if" in step and not self._holds(step["if"]):
            return True
        if kind == "run":
            return self._run(step)
        if _PINNED.fullmatch(step["uses"]) is None:
            raise ValueError(f"{step['uses']}: none that is known, by its commit")
        self.done.cached.append({name: self.evaluated(text) for name, text in step["with"].items()})
        return True

    def _run(self, step: Mapping[str, Any]) -> bool:
        if step["shell"] != "bash" or "${{" in step["run"]:
            raise ValueError(f"{step['name']}: another shell than bash, or an expression in a script")
        files = {name: self.action.temp / name for name in ("output", "env", "path", "step_summary")}
        for file in files.values():
            file.write_text("")
        script = self.action.temp / "script.sh"
        script.write_text(step["run"])
        own = {
            **{f"GITHUB_{name.upper()}": str(file) for name, file in files.items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(self.action.action.parent),
            "GITHUB_WORKSPACE": str(self.action.workspace),
            "RUNNER_TEMP": str(self.action.temp),
        }
        given = {name: self.evaluated(text) for name, text in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.action.workspace, env={**self.env, **own, **given}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        self._keep(step.get("id"), done.stdout.decode(errors="surrogateescape"), files)
        if done.returncode:
            self.done.failed = step["name"]
        return done.returncode == 0

    def _keep(self, step: str | None, log: str, files: Mapping[str, Path]) -> None:
        self.done.log += log
        self.done.summary += files["step_summary"].read_text()
        written = read_outputs(files["output"].read_text(errors="surrogateescape"))
        if step:
            self.steps[step] = written
        self.env.update(read_outputs(files["env"].read_text()))
        for folder in files["path"].read_text().splitlines():
            self.env["PATH"] = f"{folder}:{self.env['PATH']}"

    def evaluated(self, text: str) -> str:
        """Put what they stand for in the place of a text's expressions."""
        return _EXPRESSION.sub(lambda found: self._value(found[1]), text)

    def _holds(self, condition: str) -> bool:
        value, unequal, literal = condition.partition(" != ")
        if not unequal or literal != "''":
            raise ValueError(f"{condition}: no condition that is known")
        return self._value(value) != ""

    def _value(self, expression: str) -> str:
        """The first of several, divided by ||, that is not empty."""
        return next((value for value in map(self._one, expression.split("||")) if value), "")

    def _one(self, expression: str) -> str:
        match expression.strip().split("."):
            case ["inputs", name]:
                return self.inputs[name]
            case ["steps", step, "outputs", name]:
                return self.steps.get(step, {}).get(name, "")
            case _:
                return _GITHUB[expression.strip()]
