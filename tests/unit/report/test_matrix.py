# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A matrix as people, browsers and others' CI read it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from kbtf_ci.commands.main import main
from kbtf_ci.model.matrix import CellOutcome, Choice, multiply
from kbtf_ci.model.matrix_results import CellResult, MatrixResults
from kbtf_ci.report import matrix
from kbtf_ci.report.html.matrix_page import matrix_page
from kbtf_ci.workflow.matrix_needs import needs_of
from tests.unit.model.test_matrix import ALL_GOOD, FOUND, OPEN, OVER, PLAN

HOSTILE = "<script>alert(1)</script> | `x` \x1b[31m ::error::"


def test_the_table_has_a_row_a_cell_the_worst_first_and_says_why() -> None:
    lines = list(matrix.text(FOUND))
    assert lines[0].split()[:4] == ["kernel", "toolchain", "pahole", "outcome"]
    assert "not verified (UNEXPECTED)" in lines[1]
    assert "verified before" in lines[1]
    again = (
        "again: kbtf-ci run --config smoke --fragment z --pahole bookworm --suite trixie --toolchain gcc A=1"
    )
    assert f"6.12/gcc/old: 1 of 60; {again}" in lines
    assert lines[-1] == "6 cells: 4 good, 1 unexpected, 1 verified unexpectedly"
    assert list(matrix.text(ALL_GOOD))[-2] == "7.2/gcc/old: as expected: too old (a/b)"
    over = list(matrix.text(OVER))
    assert "verified (OVER BUDGET)" in over[1]
    assert "6.12/gcc/new: over budget: 51 bytes of BTF, and the budget is 50" in over
    assert list(matrix.text(OPEN))[-1] == "6 cells: 6 open"


def test_what_is_written_is_read_back() -> None:
    for found in (FOUND, ALL_GOOD, OPEN, OVER):
        values = json.loads(json.dumps(matrix.document(found)))
        plan, results = matrix.plan_of(values), matrix.results_of(values)
        assert [(one.name, one.digest, one.command) for one in plan.cells] == [
            (one.name, one.digest, one.command) for one in PLAN.cells
        ]
        assert MatrixResults(plan, results).standings == replace(found, before={}).standings


def test_results_of_removed_cells_are_kept() -> None:
    part = PLAN.named(["6.12/gcc/new"])
    values = json.loads(json.dumps(matrix.document(MatrixResults(part, ALL_GOOD.results))))
    assert [one["name"] for one in values["cells"]] == ["6.12/gcc/new"]
    assert matrix.results_of(values) == ALL_GOOD.results


def test_a_command_in_markdown_is_whole() -> None:
    options = {"variables": tuple(f"V{number}=1" for number in range(100))}
    plan = multiply("m", "", options, {"suite": [Choice("a", {"suite": "trixie"})]})
    (one,) = plan.cells
    result = CellResult(one.name, one.digest, CellOutcome.BUILD_FAILED, error="broken")
    assert f"again: {one.command}" in matrix.markdown(MatrixResults(plan, {one.name: result}))


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.scripts += tag == "script"


def test_hostile_names_are_text_everywhere() -> None:
    plan = multiply("m", HOSTILE, {}, {"suite": [Choice(HOSTILE, {"suite": HOSTILE})]})
    found = MatrixResults(plan, {})
    page = _Scripts()
    page.feed(matrix_page(found))
    assert page.scripts == 0
    for text in (
        "".join(matrix.text(found)),
        "".join(matrix.plan_text(plan, needs_of(plan))),
        matrix.markdown(found),
    ):
        assert "\x1b" not in text
    assert "<script>" not in matrix.markdown(found).replace("`<script>", "")
    assert plan.cells[0].folder == f"_script_alert_1_script_x_31m_error_-{plan.cells[0].digest}"


def test_the_plan_is_a_strategy_for_github_and_a_pipeline_for_gitlab() -> None:
    found = json.loads(matrix.github(PLAN))
    assert [one["cell"] for one in found["include"]] == [cell.name for cell in PLAN.cells]
    assert found["include"][0]["command"] == PLAN.cells[0].command
    assert "\n" not in matrix.github(PLAN)
    odd = multiply("m", "", {}, {"suite": [Choice("x###[y", {"suite": "##[error]"})]})
    assert "##" not in matrix.github(odd)
    assert json.loads(matrix.github(odd))["include"][0]["cell"] == "x###[y"
    pipeline = YAML(typ="safe").load(matrix.gitlab(PLAN))
    jobs = {name: job for name, job in pipeline.items() if name != "include"}
    assert all(cell.command in job["script"][0] for cell, job in zip(PLAN.cells, jobs.values(), strict=True))
    assert all(job["extends"] == ".kbtf-ci" for job in jobs.values())


def test_both_are_valid_by_the_schemas_of_those_that_read_them(tmp_path: Path) -> None:
    steps = [{"run": "${{ matrix.command }}"}]
    job = {"runs-on": "x", "strategy": {"matrix": json.loads(matrix.github(PLAN))}, "steps": steps}
    files = {
        "vendor.github-workflows": json.dumps({"on": "push", "jobs": {"cells": job}}),
        "vendor.gitlab-ci": matrix.gitlab(PLAN),
    }
    for schema, text in files.items():
        path = tmp_path / f"{schema}.yml"
        path.write_text(text)
        program = Path(sys.executable).with_name("check-jsonschema")
        done = subprocess.run(
            [program, "--builtin-schema", schema, path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("words", [("--github", "--json"), ("--only", "nosuch")])
def test_what_does_not_go_together_is_one_line(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, ["matrix", "plan", "toolchains", *words])
    assert done.exit_code == 2
    assert "Traceback" not in done.output


def test_github_takes_so_many_cells(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    path.write_text(f"[axes]\nsuite = {[f's{number}' for number in range(257)]}")
    done = CliRunner().invoke(main, ["matrix", "plan", str(path), "--github"])
    assert (done.exit_code, "257 cells, and GitHub Actions takes 256" in done.output) == (2, True)


def test_the_plan_says_what_each_cell_needs_and_what_will_not_run(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text("""
[axes]
config = ["smoke", "defconfig", "nosuch"]
pahole = ["bookworm", { name = "kvm", pahole = "trixie", accel = "kvm", memory = "1G", arch = "arm64" }]
toolchain = ["clang-19"]
""")
    done = CliRunner().invoke(main, ["matrix", "plan", str(path)])
    assert done.exit_code == 0
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert "6 are compiled; together 20 GiB of disk" in lines
    image = "needs trixie's image with clang-19, "
    assert image + "2 GiB of disk, a guest of x86_64 with 768 MiB and 2 CPUs" in lines
    assert image + "8 GiB of disk, a guest of arm64 with 1 GiB and 2 CPUs, a worker with kvm" in lines
    assert sum(line.startswith("will be refused: --config nosuch: no such profile") for line in lines) == 2


def test_a_cell_on_the_host_needs_its_tools_and_no_image(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text('[axes]\nengine = ["host", "container"]\n[options]\nkernel = "linux.deb"\n')
    done = CliRunner().invoke(main, ["matrix", "plan", str(path)])
    assert "compiled" not in done.stdout
    needs = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("needs")]
    assert needs == [
        "needs tools of the machine's own, a guest of x86_64",
        "needs trixie's image, a guest of x86_64",
    ]
