# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A matrix of runs: its plan and what came of it, as text, markdown and JSON; the plan for others' CI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from pydantic import TypeAdapter

from kbtf_ci.infra.text import printable
from kbtf_ci.model.cell_needs import CellNeeds, disk_together
from kbtf_ci.model.cluster import CELL
from kbtf_ci.model.matrix import Cell, CellOutcome, Expectation, Plan, Rule
from kbtf_ci.model.matrix_budget import CellBudget
from kbtf_ci.model.matrix_results import CellResult, MatrixResults, Standing, changed
from kbtf_ci.report.markdown_text import text as markdown_text

_RESULT: Final = TypeAdapter(CellResult)
PLAN_SCHEMA: Final = "kbtf-ci/matrix-plan/1"
SCHEMA: Final = "kbtf-ci/matrix/1"
_COLUMNS: Final = (
    "outcome",
    "modules",
    "bytes of BTF",
    "compile s",
    "link+BTF s",
    "all s",
    "kernel",
    "changed",
)
_MARKS: Final = {
    Standing.GOOD: "",
    Standing.EXPECTED: " (expected)",
    Standing.UNEXPECTED: " (UNEXPECTED)",
    Standing.VERIFIED_UNEXPECTEDLY: " (UNEXPECTED: a failure was expected)",
    Standing.OVER_BUDGET: " (OVER BUDGET)",
    Standing.OPEN: "",
}
_LONGEST_FAULT: Final = 4000  # of a command that is to be repeated
# GitHub Actions takes no larger matrix.
GITHUB_CELLS: Final = 256


def plan_text(plan: Plan, needs: Mapping[str, CellNeeds]) -> Iterator[str]:
    """Yield the cells as a person reads them, each with the command that runs it and what it needs."""
    yield f"{plan.name}: {len(plan.cells)} cells of {' x '.join(plan.axes)}"
    if plan.description:
        yield printable(plan.description)
    first = {cell.compiled: cell for cell in reversed(plan.cells) if cell.is_built}
    disk = disk_together(plan.cells, needs)
    takes = f"; together {_size(disk)} of disk" if disk else ""
    others = sum(cell.is_built for cell in plan.cells) - len(first)
    if first:
        anew = f", {others} link and write BTF anew" if others else ""
        yield f"{len(first)} are compiled{anew}{takes}"
    for cell in plan.cells:
        yield ""
        with_ = first.get(cell.compiled, cell)
        shared = "" if with_ is cell else f"  (compiled with {with_.name})"
        yield f"{printable(cell.name)}{printable(shared)}"
        yield f"    {printable(cell.command)}"
        yield f"    {printable(_needs(needs[cell.name], shared=with_ is not cell))}"
        if cell.expected is not None:
            yield f"    expected: {cell.expected.outcome}: {printable(_why(cell.expected))}"


def _needs(one: CellNeeds, *, shared: bool) -> str:
    if one.refused:
        return f"will be refused: {one.refused}"
    built = f" with {one.toolchain}" if one.toolchain else ""
    guest = f"a guest of {one.architecture}"
    guest += f" with {_size(one.memory_mib)}" if one.memory_mib else ""
    guest += f" and {one.cpus} CPUs" if one.cpus else ""
    disk = [f"{_size(one.disk_mib)} of disk"] if one.disk_mib and not shared else []
    # Every worker offers cells.
    more = [f"a worker with {name}" for name in one.resources if name != CELL]
    tools = f"{one.suite}'s image" if one.suite else "tools of the machine's own"
    return f"needs {tools}{built}, " + ", ".join([*disk, guest, *more])


def _size(mib: int) -> str:
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


def _why(one: Expectation) -> str:
    return f"{one.reason} ({one.link})" if one.link else one.reason


def plan_document(plan: Plan, needs: Mapping[str, CellNeeds]) -> dict[str, Any]:
    """Return the plan as JSON."""
    cells = [{**cell_document(cell), "needs": needs[cell.name].document()} for cell in plan.cells]
    return {"schema": PLAN_SCHEMA, **_head(plan), "cells": cells}


def _head(plan: Plan) -> dict[str, Any]:
    return {"name": plan.name, "description": plan.description, "axes": list(plan.axes)}


def cell_document(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON."""
    expected = cell.expected
    return {
        "name": cell.name,
        "choices": dict(cell.choices),
        "options": {
            key: list(value) if isinstance(value, tuple) else value for key, value in cell.options.items()
        },
        "command": cell.command,
        "compiled": cell.compiled,
        "expected": None
        if expected is None
        else {"outcome": expected.outcome, "reason": expected.reason, "link": expected.link},
        "budget": None if cell.budget is None else asdict(cell.budget),
    }


def github(plan: Plan) -> str:
    """Return a strategy's matrix for fromJSON() in a workflow of GitHub Actions, on one line.

    What GitHub's runners would take for a command in it is written otherwise; it is the same JSON.
    """
    cells = [{"cell": cell.name, "command": cell.command} for cell in plan.cells]
    return json.dumps({"include": cells}, separators=(",", ":")).replace("##", "#\\u0023")


def gitlab(plan: Plan) -> str:
    """Return a child pipeline for GitLab: a job a cell, on top of ``.kbtf-ci`` of examples/ci.

    JSON is YAML, in which no text of a cell can be anything else.
    """
    jobs = {f"kbtf-ci {cell.name}": _gitlab_job(cell) for cell in plan.cells}
    return json.dumps({"include": [{"local": "kbtf-ci.gitlab-ci.yml"}], **jobs}, indent=2)


def _gitlab_job(cell: Cell) -> dict[str, Any]:
    command = f'PATH="$PWD/.kbtf-ci/venv/bin:$PATH" {cell.command} --output-dir=.kbtf-ci/run'
    return {"extends": ".kbtf-ci", "script": [command]}


def document(found: MatrixResults) -> dict[str, Any]:
    """Return what a matrix came to as JSON; times in seconds."""
    standings = found.standings
    cells = [
        {
            **cell_document(cell),
            "standing": standings[cell.name],
            "changed": changed(found.before.get(cell.name), found.of(cell)),
            "over_budget": list(found.over_budget(cell)),
            "result": found.of(cell).document(),
        }
        for cell in found.plan.cells
    ]
    names = {cell.name for cell in found.plan.cells}
    return {
        "schema": SCHEMA,
        **_head(found.plan),
        "cells": cells,
        "removed": [one.document() for name, one in found.results.items() if name not in names],
        "exit_code": int(found.exit_code),
    }


def plan_of(values: Mapping[str, Any]) -> Plan:
    """Return the plan in a document of either kind. Raises KeyError, TypeError or ValueError for none."""
    cells = tuple(cell_of(one) for one in values["cells"])
    return Plan(values["name"], values["description"], tuple(values["axes"]), cells)


def cell_of(values: Mapping[str, Any]) -> Cell:
    """Return the cell in a document; raises as plan_of()."""
    options = {key: tuple(one) if isinstance(one, list) else one for key, one in values["options"].items()}
    found = values["expected"]
    expected = (
        None
        if found is None
        else Expectation(Rule({}), CellOutcome(found["outcome"]), found["reason"], found["link"])
    )
    limits = values.get("budget") or {}
    budget = CellBudget(**{one.name: limits.get(one.name) for one in fields(CellBudget)}) if limits else None
    return Cell(dict(values["choices"]), options, expected, budget)


def results_of(values: Mapping[str, Any]) -> dict[str, CellResult]:
    """Return the results in a document, those of removed cells too, by their names; raises as plan_of()."""
    written = [*values.get("removed", ()), *(one["result"] for one in values["cells"])]
    return {one["name"]: result_of(one) for one in written}


def result_of(values: Mapping[str, Any]) -> CellResult:
    """Return the result in a document; raises as plan_of()."""
    return _RESULT.validate_json(json.dumps(values), strict=True)


def ended(cell: Cell, result: CellResult, how: Standing, count: int, total: int) -> str:
    """Return the line that tells of a cell's end, the ``count``-th of ``total``."""
    line = f"{count} of {total}: {cell.name}: {_outcome(result, how)}"
    if result.modules:
        line += f", {result.verified} of {result.modules} modules"
    line += f", {result.seconds:.0f} s"
    return printable(f"{line}; {result.error}" if result.error else line)


def _outcome(result: CellResult, how: Standing) -> str:
    return f"{result.outcome}{_MARKS[how]}"


def rows(found: MatrixResults) -> Iterator[tuple[str, ...]]:
    """Yield the table's rows of text, those that nobody expected so first."""
    standings = found.standings
    for cell in found.ordered:
        result = found.of(cell)
        chosen = tuple(printable(cell.choices.get(axis, "")) for axis in found.plan.axes)
        yield (
            *chosen,
            _outcome(result, standings[cell.name]),
            f"{result.verified} of {result.modules}" if result.modules else "",
            f"{result.btf_bytes:,}" if result.btf_bytes else "",
            _seconds(result.compile_s),
            _seconds(result.link_s),
            f"{result.seconds:.0f}" if result.seconds else "",
            printable(result.release),
            changed(found.before.get(cell.name), result),
        )


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def columns(found: MatrixResults) -> tuple[str, ...]:
    """Return the table's heads."""
    return (*found.plan.axes, *_COLUMNS)


def text(found: MatrixResults) -> Iterator[str]:
    """Yield the table as a person reads it, and a line for each cell that went wrong."""
    table = [columns(found), *rows(found)]
    widths = [max(len(row[number]) for row in table) for number in range(len(table[0]))]
    yield from (
        "  ".join(f"{one:{width}}" for one, width in zip(row, widths, strict=True)).rstrip() for row in table
    )
    for line in faults(found):
        yield printable(line)
    yield headline(found)


def faults(found: MatrixResults) -> Iterator[str]:
    """Yield a line for each cell that is not verified: why, and the command that shows it again."""
    standings = found.standings
    for cell in found.ordered:
        result, how = found.of(cell), standings[cell.name]
        if how is Standing.EXPECTED and cell.expected is not None:
            yield f"{cell.name}: as expected: {_why(cell.expected)}"
        elif how is Standing.VERIFIED_UNEXPECTEDLY and cell.expected is not None:
            yield f"{cell.name}: verified, though expected to fail: {_why(cell.expected)}"
        elif how is Standing.OVER_BUDGET:
            yield f"{cell.name}: over budget: {'; '.join(found.over_budget(cell))}"
        elif how is not Standing.GOOD and result.outcome is not CellOutcome.NOT_RUN:
            yield f"{cell.name}: {result.error or result.outcome}; again: {cell.command}"


def headline(found: MatrixResults) -> str:
    """Return how many cells stand how, in a line."""
    standings = list(found.standings.values())
    counts = [(standings.count(one), one) for one in Standing if one in standings]
    return f"{len(standings)} cells: " + ", ".join(f"{count} {one}" for count, one in counts)


def markdown(found: MatrixResults) -> str:
    """Return the same as a document for a pull request or a job's page."""
    heads = columns(found)
    lines = [f"# Matrix {markdown_text(found.plan.name)}", "", headline(found), ""]
    lines += [f"| {' | '.join(markdown_text(one) for one in heads)} |", "|" + " --- |" * len(heads)]
    lines += [f"| {' | '.join(markdown_text(one) for one in row)} |" for row in rows(found)]
    told = [markdown_text(line, _LONGEST_FAULT) for line in faults(found)]
    lines += ["", *(f"- {line}" for line in told)] if told else []
    return "".join(f"{line}\n" for line in lines)
