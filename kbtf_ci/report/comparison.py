# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Two runs beside each other: as text, as markdown, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kbtf_ci.infra.text import printable
from kbtf_ci.model.comparison import Comparison, ModuleChange
from kbtf_ci.model.names import some
from kbtf_ci.report.markdown_text import text as markdown_text

SCHEMA: Final = "kbtf-ci/comparison/1"
_MOST: Final = 20  # rows of each table that a person reads
_FUNCTIONS: Final = 8  # of one module, in a row


@dataclass(frozen=True)
class Table:
    """Rows of text; the first cell of each is what the row is about."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


def text(found: Comparison, breaches: Sequence[str]) -> Iterator[str]:
    """Yield the lines that a person reads; those of budgets that are not kept come last."""
    before, after = found.before, found.after
    yield " -> ".join(f"{printable(run.name)} ({printable(run.release)})" for run in (before, after))
    yield (
        f"{len(before.modules):,} modules -> {len(after.modules):,}; {before.btf_bytes:,} bytes of BTF -> "
        f"{after.btf_bytes:,} ({found.bytes_more:+,}, {found.growth:+.2f} %)"
    )
    for table in tables(found):
        rows = table.rows
        yield ""
        yield f"{table.title}: {len(rows):,}"
        yield from (f"    {'  '.join(row)}" for row in rows[:_MOST])
        if len(rows) > _MOST:
            yield f"    and {len(rows) - _MOST:,} more"
    if not found.has_functions:
        yield ""
        yield "functions: not compared, for one run has not kept their names"
    if breaches:
        yield ""
        yield from (f"over budget: {printable(line)}" for line in breaches)


def markdown(found: Comparison, breaches: Sequence[str]) -> str:
    """Return the same as a document."""
    before, after = found.before, found.after
    lines = [
        f"# Module BTF: {markdown_text(before.release)} -> {markdown_text(after.release)}",
        "",
        "| | before | after | |",
        "| --- | ---: | ---: | ---: |",
        f"| modules | {len(before.modules):,} | {len(after.modules):,} | "
        f"{len(after.modules) - len(before.modules):+,} |",
        f"| bytes of BTF | {before.btf_bytes:,} | {after.btf_bytes:,} | {found.bytes_more:+,} "
        f"({found.growth:+.2f} %) |",
        *(line for breach in breaches for line in ("", f"**Over budget:** {markdown_text(breach)}")),
    ]
    for table in tables(found):
        rows = table.rows
        lines += ["", f"## {table.title[0].upper()}{table.title[1:]}: {len(rows):,}", ""]
        lines += [f"| {' | '.join(table.columns)} |", "|" + " --- |" * len(table.columns)]
        lines += [f"| {' | '.join(markdown_text(cell) for cell in row)} |" for row in rows[:_MOST]]
        if len(rows) > _MOST:
            lines += ["", f"and {len(rows) - _MOST:,} more"]
    return "".join(f"{line}\n" for line in lines)


def document(found: Comparison, breaches: Sequence[str]) -> dict[str, Any]:
    """Return the JSON document; sizes in bytes, times in seconds."""
    return {
        "schema": SCHEMA,
        "before": _run(found, after=False),
        "after": _run(found, after=True),
        "bytes_more": found.bytes_more,
        "growth_percent": round(found.growth, 3),
        "gained": [module.name for module in found.gained],
        "lost": [module.name for module in found.lost],
        "outcomes": [
            {"module": one.name, "before": one.before.outcome, "after": one.after.outcome}
            for one in found.outcomes
        ],
        "sizes": [
            {"module": one.name, "before": one.before.btf_bytes, "after": one.after.btf_bytes}
            for one in found.resized
        ],
        "functions": [
            {"module": one.name, "lost": list(one.lost), "gained": list(one.gained)}
            for one in found.functions
        ]
        if found.has_functions
        else None,
        "lost_functions": found.lost_functions if found.has_functions else None,
        "stages": [
            {"stage": name, "before": before, "after": after} for name, before, after in _stages(found)
        ],
        "over_budget": list(breaches),
    }


def _run(found: Comparison, *, after: bool) -> dict[str, Any]:
    run = found.after if after else found.before
    return {
        "name": run.name,
        "release": run.release,
        "modules": len(run.modules),
        "btf_bytes": run.btf_bytes,
    }


def tables(found: Comparison) -> Iterator[Table]:
    """Yield each table that has rows."""
    all_tables = (
        Table(
            "modules with another outcome",
            ("module", "outcome"),
            [(_name(one), f"{one.before.outcome} -> {one.after.outcome}") for one in found.outcomes],
        ),
        Table(
            "modules that are there no more",
            ("module",),
            [(printable(module.name),) for module in found.lost],
        ),
        Table("modules that are new", ("module",), [(printable(module.name),) for module in found.gained]),
        Table(
            "modules with other functions",
            ("module", "functions"),
            [_functions(one) for one in found.functions],
        ),
        Table(
            "modules with more or fewer bytes of BTF",
            ("module", "bytes", "more"),
            [
                (_name(one), f"{one.before.btf_bytes:,} -> {one.after.btf_bytes:,}", f"{one.bytes_more:+,}")
                for one in found.resized
            ],
        ),
        Table(
            "stages, in seconds",
            ("stage", "seconds"),
            [(name, f"{_seconds(before)} -> {_seconds(after)}") for name, before, after in _stages(found)],
        ),
    )
    yield from (table for table in all_tables if table.rows)


def _functions(one: ModuleChange) -> tuple[str, ...]:
    told = []
    for word, names in (("lost", one.lost), ("gained", one.gained)):
        if names:
            told.append(f"{len(names)} {word}: {some([printable(name) for name in names], _FUNCTIONS)}")
    return _name(one), "; ".join(told)


def _stages(found: Comparison) -> Iterator[tuple[str, float | None, float | None]]:
    before, after = found.before.stages, found.after.stages
    for name in dict.fromkeys((*before, *after)):
        yield name, before.get(name), after.get(name)


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:.1f}"


def _name(one: ModuleChange) -> str:
    return printable(one.name)
