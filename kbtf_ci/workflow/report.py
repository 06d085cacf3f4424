# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A run's reports written again, and two runs put beside each other: from what they kept."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, Field, ValidationError

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.comparison import Comparison, ModuleFacts, RunFacts
from kbtf_ci.model.invalid import first_fault
from kbtf_ci.model.results import Results
from kbtf_ci.model.run_record import RunRecord
from kbtf_ci.objfile.elf import unpacked_name
from kbtf_ci.workflow.reports import write_reports

_FUNCTIONS: Final = "kbtf-ci/functions/1"


class _Functions(BaseModel):
    schema_: Annotated[str, Field(alias="schema")]
    modules: Mapping[str, list[str]]


class _Run(BaseModel):
    stages: Mapping[str, float] = {}


def compare(after: Path, before: Path) -> Comparison:
    """Return what has changed from ``before`` to ``after``, each a run directory or its results.json.

    Raises UsageError for what is neither, or cannot be read.
    """
    return Comparison(_facts(before), _facts(after))


def read_run(path: Path) -> tuple[Results, RunRecord]:
    """Return what a run directory holds. Raises UsageError for one that reports cannot be made of."""
    return _reportable(path), RunDirectory(path).read_record()


def _reportable(path: Path) -> Results:
    file = RunDirectory(path).results_json
    results = read_results(file)
    if results.findings is None:
        raise UsageError(
            f"{file}: an earlier kbtf-ci wrote it, which did not keep what reports need",
            hint=f"kbtf-ci verify {path}",
        )
    return results


def render(path: Path, reporter: Reporter) -> Path:
    """Write the reports of a run directory again, and return the page for a browser.

    The results alone make one. Raises UsageError as read_run() does.
    """
    results = _reportable(path)
    directory = RunDirectory(path.resolve())
    with directory.locked(reporter.note):
        write_reports(directory, results)
    return path / directory.report_html.name


def _facts(path: Path) -> RunFacts:
    directory = RunDirectory(path if path.is_dir() else path.parent)
    file = directory.results_json if path.is_dir() else path
    results = read_results(file)
    functions = _functions(directory.functions)

    def of(file: str) -> frozenset[str] | None:
        return None if functions is None else frozenset(functions.get(file, ()))

    modules = {
        module.name: ModuleFacts(module.name, module.outcome, module.btf_bytes, of(module.file))
        for module in results.modules
    }
    return RunFacts(str(path), results.kernel.release, modules, _stages(directory.run_json))


def read_results(file: Path) -> Results:
    """Return a results.json. Raises UsageError for what is none, or cannot be read."""
    try:
        return Results.parse(file.read_bytes())
    except OSError as error:
        raise file_error(error, file, "cannot be read") from error
    except ValueError as error:
        raise UsageError(
            f"{file}: not the results of a run: {error}",
            hint="name a run directory, or the results.json of one",
        ) from error


def _functions(file: Path) -> Mapping[str, list[str]] | None:
    """Return the functions of each module by its file, None where they were not kept."""
    if not file.is_file():
        return None
    try:
        found = _Functions.model_validate(json.loads(gzip.decompress(file.read_bytes())))
    except (OSError, EOFError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read: {_words(error)}") from error
    if found.schema_ != _FUNCTIONS:
        return None
    # Kept by the names that the files really have, compressed or not.
    return {unpacked_name(file): names for file, names in found.modules.items()}


def _stages(file: Path) -> Mapping[str, float]:
    try:
        return _Run.model_validate_json(file.read_bytes()).stages if file.is_file() else {}
    except (OSError, ValidationError):
        return {}  # of a run the seconds are the least


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return first_fault(error)
    return " ".join(str(error).split())[:200]
