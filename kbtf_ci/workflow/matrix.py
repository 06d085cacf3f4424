# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci matrix``: the cells of a plan, run on this machine one by one or several at once.

What each came to is kept when it ends: the same command goes on where an interrupt ended one before.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from kbtf_ci import __version__
from kbtf_ci.errors import InfrastructureError, UsageError, file_error
from kbtf_ci.infra import rundir
from kbtf_ci.infra.locks import exclusive, lock_of
from kbtf_ci.infra.matrix_file import read_matrix
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model.cluster import ClusterOptions
from kbtf_ci.model.matrix import OPEN, Cell, CellOutcome, Plan
from kbtf_ci.model.matrix_results import CellResult, MatrixResults
from kbtf_ci.report import matrix as report
from kbtf_ci.report.html.matrix_page import matrix_page
from kbtf_ci.workflow import cluster_extra
from kbtf_ci.workflow.cell import CellsPlace, Watch, run_cell
from kbtf_ci.workflow.matrix_needs import warn_of_disk

_RESULTS: Final = "matrix.json"
_BEFORE: Final = "before.json"
_BASELINE: Final = "baseline.json"
PAGE: Final = "matrix.html"
_CELLS: Final = "cells"
# What a cell's compiler, linker and guest take beside others', by the defconfig's own: 3 GiB and some.
_MEMORY_OF_A_CELL: Final = 6 << 30
_CORES_OF_A_CELL: Final = 4


@dataclass(frozen=True)
class MatrixOptions:
    """What the user asked for: cells at once (None: as cores and memory allow), names of cells, all anew."""

    at_once: int | None = None
    only: tuple[str, ...] = ()
    again: bool = False
    cluster: ClusterOptions = field(default_factory=ClusterOptions)


def plan(text: str, only: tuple[str, ...] = ()) -> Plan:
    """Return the plan in a file, or in a shipped one by its name. Raises UsageError as read_matrix()."""
    return read_matrix(text).named(only)


def folder_of(named: Plan, output: Path | None) -> Path:
    """Return where a matrix is run."""
    return output if output is not None else Path("runs") / f"matrix-{named.name}"


def run_matrix(whole: Plan, folder: Path, options: MatrixOptions, reporter: Reporter) -> MatrixResults:
    """Run the cells of a plan that are wanted and not done, and return what each of those came to.

    Raises UsageError for a folder that holds something else, InfrastructureError where it cannot be written.
    What is interrupted leaves no process of a cell.
    """
    wanted = whole.named(options.only)
    with _held(folder, reporter):
        kept = _Kept.read(folder)
        _require_common(kept.plan, whole, folder)
        before = MatrixResults(whole, kept.results)
        todo = [cell for cell in wanted.cells if options.again or _is_open(before.of(cell), cell)]
        kept = kept.begun_anew({cell.name for cell in todo})
        found = MatrixResults(whole, kept.results, kept.before, kept.baseline)
        if len(todo) < len(wanted.cells):
            reporter.note(f"{len(wanted.cells) - len(todo)} of {len(wanted.cells)} cells are done, and kept")
        write(found, folder)

        def ended(result: CellResult) -> None:
            nonlocal found
            found = replace(found, results={**found.results, result.name: result})
            write(found, folder)
            cell = next(one for one in wanted.cells if one.name == result.name)
            count = sum(not _is_open(found.of(one), one) for one in wanted.cells)
            how = found.standings[cell.name]
            reporter.note(report.ended(cell, result, how, count, len(wanted.cells)))

        place = CellsPlace(folder / _CELLS, ended, reporter)
        if todo and options.cluster.named:
            _on_workers(_owner(folder), todo, options.cluster, place)
        elif todo:
            warn_of_disk(todo, reporter)
            _Machine(place, _at_once(options.at_once)).run(todo)
        return replace(found, plan=wanted, results={cell.name: found.of(cell) for cell in wanted.cells})


def _require_common(kept: Plan | None, whole: Plan, folder: Path) -> None:
    """Refuse a folder with the results of another matrix: two files may have one name."""
    if kept is not None and not {one.name for one in kept.cells} & {one.name for one in whole.cells}:
        raise UsageError(
            f"{folder}: holds a matrix of other cells, as {kept.cells[0].name}", hint="name another with -o"
        )


def _owner(folder: Path) -> str:
    """Return what tells this matrix from any other that the same workers may run."""
    return f"{socket.gethostname()}:{os.getuid()}:{folder.absolute()}"


def _on_workers(owner: str, todo: list[Cell], options: ClusterOptions, place: CellsPlace) -> None:
    cluster_extra.require()
    from kbtf_ci.workflow import cluster, dispatch  # noqa: PLC0415 - distributed is an extra

    with cluster.connected(options) as client:
        cluster.require_workers(client, todo)
        place.reporter.stage(f"{len(todo)} cells")
        dispatch.Cluster(client, owner, place).run(todo)


def write(found: MatrixResults, folder: Path) -> None:
    """Write what a matrix came to so far, and its page. Raises InfrastructureError."""
    rundir.write_text(folder / _RESULTS, json.dumps(report.document(found), indent=1) + "\n")
    rundir.write_text(folder / PAGE, matrix_page(found))


def read_results(folder: Path) -> MatrixResults:
    """Return what a matrix in a folder came to so far. Raises UsageError where there is none."""
    kept = _Kept.read(folder)
    if kept.plan is None:
        raise UsageError(f"{folder}: holds no matrix ({_RESULTS})", hint="kbtf-ci matrix run makes one")
    return MatrixResults(kept.plan, kept.results, kept.before, kept.baseline)


def _is_open(result: CellResult, cell: Cell) -> bool:
    """Whether a cell is still to be run: never was, by other options or another kbtf-ci, or to no verdict."""
    return result.outcome in OPEN or result.digest != cell.digest or result.kbtf_ci != __version__


@contextmanager
def _held(folder: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the folder of a matrix for this process alone; another one waits."""
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / _RESULTS).is_file():
            raise UsageError(f"{folder}: holds something else than a matrix", hint="name another one with -o")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, folder, "cannot be made") from error
    with exclusive(lock_of(folder), lambda: reporter.note(f"another run is using {folder}; waiting for it")):
        yield


@dataclass(frozen=True)
class _Kept:
    """What a folder holds of a matrix; ``before`` is what its cells came to before they were run again.

    ``baseline`` is the same of those that were verified.
    """

    folder: Path
    plan: Plan | None
    results: Mapping[str, CellResult]
    before: Mapping[str, CellResult]
    baseline: Mapping[str, CellResult]

    @classmethod
    def read(cls, folder: Path) -> _Kept:
        found = _read(folder / _RESULTS)
        before, baseline = (_read_results(folder / name) for name in (_BEFORE, _BASELINE))
        return cls(
            folder,
            report.plan_of(found) if found else None,
            report.results_of(found) if found else {},
            {name: one for name, one in before.items() if one.outcome not in OPEN},
            {name: one for name, one in (baseline or before).items() if one.outcome is CellOutcome.VERIFIED},
        )

    def begun_anew(self, names: Collection[str]) -> _Kept:
        """Let what cells of these names came to be what was before; for others that stays what it was."""
        left = {name: one for name, one in self.results.items() if name not in names}
        gone = {name: one for name, one in self.results.items() if name in names and one.outcome not in OPEN}
        verified = {name: one for name, one in gone.items() if one.outcome is CellOutcome.VERIFIED}
        found = replace(
            self,
            results=left,
            before={**self.before, **gone},
            baseline={**self.baseline, **verified},
        )
        if gone and self.plan is not None:
            for name, kept in ((_BEFORE, found.before), (_BASELINE, found.baseline)):
                document = report.document(MatrixResults(self.plan, kept))
                rundir.write_text(self.folder / name, json.dumps(document, indent=1) + "\n")
        return found


def _read_results(path: Path) -> Mapping[str, CellResult]:
    values = _read(path)
    return report.results_of(values) if values else {}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
        if values["schema"] != report.SCHEMA:
            raise ValueError(f"schema {values['schema']}")
        # What cannot be shown is none either.
        found = MatrixResults(report.plan_of(values), report.results_of(values))
        report.document(found), list(report.text(found))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path}: not the results of a matrix: {error}", hint="remove it") from error
    return values


def _at_once(asked: int | None) -> int:
    if asked is not None:
        return asked
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores // _CORES_OF_A_CELL, memory // _MEMORY_OF_A_CELL))


class _Machine:
    """Runs cells, never two at once that share a build directory."""

    def __init__(self, place: CellsPlace, at_once: int) -> None:
        self._place, self._at_once = place, at_once
        self._jobs = max(1, len(os.sched_getaffinity(0)) // at_once)
        self._stop = threading.Event()

    def run(self, cells: list[Cell]) -> None:
        waiting = list(cells)
        running: dict[Future[CellResult], Cell] = {}
        with ThreadPoolExecutor(self._at_once) as pool:
            try:
                while waiting or running:
                    self._start(pool, waiting, running)
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        del running[future]
                        self._place.ended(future.result())
            except BaseException:
                self._stop.set()  # and the pool waits for what runs to end
                raise

    def _start(
        self, pool: ThreadPoolExecutor, waiting: list[Cell], running: dict[Future[CellResult], Cell]
    ) -> None:
        for cell in list(waiting):
            if len(running) == self._at_once:
                return
            if cell.compiled in {one.compiled for one in running.values()}:
                continue
            waiting.remove(cell)
            self._place.reporter.stage(cell.name)
            running[pool.submit(self._run, cell)] = cell

    def _run(self, cell: Cell) -> CellResult:
        def told(line: str) -> None:
            self._place.reporter.progress(line if self._at_once == 1 else f"{cell.name}: {line}")

        try:
            return run_cell(cell, self._place.folder / cell.folder, self._jobs, Watch(self._stop, told))
        except InfrastructureError as error:
            outcome = CellOutcome.INFRASTRUCTURE
            return CellResult(cell.name, cell.digest, outcome, error=error.message, kbtf_ci=__version__)
