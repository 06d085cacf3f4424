# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One cell of a matrix: its command, run as a process of its own, and what its run directory says then."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kbtf_ci import __version__
from kbtf_ci.errors import InfrastructureError, KbtfError
from kbtf_ci.infra.leash import leash
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.cause import causes
from kbtf_ci.model.matrix import Cell, CellOutcome, outcome_of
from kbtf_ci.model.matrix_results import CellResult
from kbtf_ci.model.results import Results

_ERROR: Final = re.compile(r"^(?:kbtf-ci|Error): (.*)$", re.MULTILINE)  # Error: of an option's value
_TRACEBACK: Final = "Traceback (most recent call last)"
_POLL_S: Final = 0.5
# A command that is asked to end removes its containers, which an engine under load takes its time for.
_PATIENCE_S: Final = 120
_TAIL_BYTES: Final = 64 * 1024
_LINE_BYTES: Final = 1024


@dataclass(frozen=True)
class CellsPlace:
    """Where the folders of cells lie, and who hears of each one's end, and of what goes on."""

    folder: Path
    ended: Callable[[CellResult], None]
    reporter: Reporter


def untold(_line: str) -> None:
    """Be told of a cell's progress, and tell nobody."""


@dataclass(frozen=True)
class Watch:
    """What ends a cell early once it is set, and who is told each last line that its command wrote."""

    stop: threading.Event
    told: Callable[[str], None] = untold


def run_cell(
    cell: Cell, folder: Path, jobs: int, watch: Watch, inherited: tuple[int, ...] = ()
) -> CellResult:
    """Run a cell's command with its run directory in ``folder``, and return what it came to.

    ``folder`` gets ``run`` and ``output.log``; what an earlier run left there goes. Once the watch says
    stop the command is asked to end, and the cell is NOT_RUN. The command gets the descriptors ``inherited``.
    Raises InfrastructureError when the folder cannot be made.
    """
    run, log = folder / "run", folder / "output.log"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise InfrastructureError(f"{folder}: cannot be made: {error.strerror}") from error
    building = ("--jobs", str(jobs)) if "kernel" not in cell.options else ()
    # What a job of CI is told of, the matrix tells.
    more = (*building, "--no-annotate", "--output-dir", str(run))
    # -P: what lies in the user's folder is no module of ours.
    argv = (sys.executable, "-P", "-m", "kbtf_ci", *cell.words, *more)
    began = time.monotonic()
    with log.open("wb") as output:
        status = _status_of(argv, output.fileno(), inherited, _watching(log, watch))
    seconds = round(time.monotonic() - began, 1)
    results = _results(run)
    outcome = CellOutcome.NOT_RUN if watch.stop.is_set() else _outcome(status, results)
    return CellResult(
        name=cell.name,
        digest=cell.digest,
        outcome=outcome,
        seconds=seconds,
        exit_code=status,
        error="" if outcome is CellOutcome.VERIFIED else _last_error(log) or _first_cause(results),
        run=str(run) if run.is_dir() else "",
        kbtf_ci=__version__,
        **_of_run(run, results),
    )


def _results(run: Path) -> Results | None:
    """Return what a run came to, None where it did not get that far."""
    try:
        return Results.parse((run / "results.json").read_bytes())
    except (ValueError, OSError):
        return None


def _outcome(status: int, results: Results | None) -> CellOutcome:
    """Return what a command came to; of modules nothing without results: a broken Python exits with 1 too."""
    found = outcome_of(status)
    of_modules = found in (CellOutcome.VERIFIED, CellOutcome.NOT_VERIFIED)
    return CellOutcome.INFRASTRUCTURE if of_modules and results is None else found


def _watching(log: Path, watch: Watch) -> Callable[[], bool]:
    """Return what is asked now and then whether the command may go on, and tells what it says meanwhile."""
    last = ""

    def goes_on() -> bool:
        nonlocal last
        lines = _tail(log, _LINE_BYTES).split("\n")[:-1]  # the last one may be half
        if lines and lines[-1] != last:
            last = lines[-1]
            watch.told(last.strip())
        return not watch.stop.is_set()

    return goes_on


def _status_of(
    argv: Sequence[str], output: int, inherited: tuple[int, ...], goes_on: Callable[[], bool]
) -> int:
    """Run a command in a process group of its own, which ends with this process; return its exit status.

    It is asked to end once ``goes_on`` says no.
    """
    with leash() as (descriptor, variables):
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            pass_fds=(descriptor, *inherited),
            start_new_session=True,
        )
        try:
            while process.poll() is None and goes_on():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_S)
        finally:
            _end(process)
        return process.returncode


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a command that still runs to end; kill its group where it does not."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_error(log: Path) -> str:
    """Return the line in which the command told why it ended, "" for none; of a traceback the last."""
    text = _tail(log, _TAIL_BYTES)
    if found := _ERROR.findall(text):
        return str(found[-1])
    return text.strip().rpartition("\n")[2] if _TRACEBACK in text else ""


def _tail(log: Path, size: int) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - size))
        return file.read().decode(errors="replace")


def _first_cause(results: Results | None) -> str:
    """Return what ended a whole run otherwise than well, with how much else did; "" where nothing says it."""
    found = [one.title for one in causes(results) if one.counts] if results else []
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0]}{more}" if found else ""


def _of_run(run: Path, results: Results | None) -> dict[str, Any]:
    """Return what a run directory says of its kernel and modules; of one that is not whole what is there."""
    found: dict[str, Any] = {}
    with suppress(KbtfError, OSError):
        record = RunDirectory(run).read_record()
        found |= {
            "release": record.kernel.release if record.kernel else "",
            "compiler": record.kernel.compiler if record.kernel else "",
            "pahole": record.kernel.pahole if record.kernel else "",
            "libbpf": record.pahole.libbpf if record.pahole else "",
            "compile_s": record.build_seconds.get("compile"),
            "link_s": record.build_seconds.get("link"),
        }
    if results:
        found |= {
            "modules": len(results.modules),
            "verified": results.verified,
            "btf_bytes": results.btf_bytes,
        }
    return found
