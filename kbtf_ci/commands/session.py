# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One command from its start to its exit code: signals, errors, and the line that tells of each."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from kbtf_ci.commands.github import append_summary, commands_stopped
from kbtf_ci.errors import ExitCode, InfrastructureError, InterruptError, KbtfError
from kbtf_ci.infra.leash import heed
from kbtf_ci.infra.paths import shown_path
from kbtf_ci.infra.rundir import write_text
from kbtf_ci.infra.text import inert
from kbtf_ci.model.cause import Cause, causes
from kbtf_ci.model.results import Results
from kbtf_ci.report.annotations import annotate as annotated
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.verdict import Verdict

_PACKAGE = Path(__file__).resolve().parents[1]
_BROKEN_PIPE = 128 + signal.SIGPIPE


class Session(TerminalReporter):
    """One command's reporter; ``annotations`` are for the CI system, behind all else that is printed."""

    def __init__(self, *, quiet: bool) -> None:
        super().__init__(quiet=quiet)
        self.annotations: list[str] = []


@contextmanager
def reporting(*, quiet: bool, debug: bool, bisect: bool = False) -> Iterator[Session]:
    """Give a reporter; turn signals into an orderly end, and errors into a line and an exit code."""
    _catch_signals()
    heed()
    reporter = Session(quiet=quiet)
    with commands_stopped(reporter.annotations), reporter:
        try:
            yield reporter
        except Exception as error:
            reporter.close()
            _end(error, debug=debug, bisect=bisect)


def _end(error: Exception, *, debug: bool, bisect: bool) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has enough; Python would complain once more when it flushes.
        sys.stdout = None
        sys.exit(_BROKEN_PIPE)
    if debug:
        echo("".join(traceback.format_exception(error)).splitlines(), err=True)
    known = _known(error)
    _print_error(known)
    sys.exit(_exit_code(known.exit_code, bisect=bisect))


def _known(error: Exception) -> KbtfError:
    """Return the error as one of ours: an unexpected one of a file or disk, or else of our own making."""
    if isinstance(error, KbtfError):
        return error
    if isinstance(error, OSError) and error.strerror:
        return InfrastructureError(f"{error.filename or 'the disk'}: {error.strerror}")
    words = " ".join(str(error).split())[:200]
    return InfrastructureError(
        f"internal error: {type(error).__name__}{f': {words}' if words else ''} ({_place(error)})",
        hint="--debug shows the traceback; please report it",
    )


def _place(error: Exception) -> str:
    """Return the innermost line of ours that the error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not ours:
        return "no line of kbtf-ci's own"
    return f"{Path(ours[-1].filename).relative_to(_PACKAGE.parent)}:{ours[-1].lineno}"


def _catch_signals() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        # Whoever presses ^C twice would otherwise interrupt the clean-up.
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_IGN)
        raise InterruptError(f"interrupted by {signal.Signals(number).name}")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _print_error(error: KbtfError) -> None:
    echo(error.detail.splitlines(), err=True)
    echo([f"kbtf-ci: {error.message}"], err=True)
    if error.hint:
        echo([f"  {error.hint}"], err=True)


def _exit_code(code: ExitCode, *, bisect: bool) -> ExitCode:
    says_nothing = code in (ExitCode.USAGE, ExitCode.BUILD_FAILED, ExitCode.INFRASTRUCTURE)
    return ExitCode.BISECT_SKIP if bisect and says_nothing else code


def echo(lines: Iterable[str], *, err: bool = False) -> None:
    """Print lines for a person; what files and guests have put into them steers no terminal and no CI job."""
    for line in lines:
        click.echo(inert(line), err=err)


def echo_json(document: object) -> None:
    """Print a JSON document for a program."""
    _print_json(json.dumps(document, indent=1))


def _print_json(text: str) -> None:
    """Print JSON in which a CI system's runner finds no command: two hashes are within a string."""
    click.echo(text.replace("##", r"#\u0023"))


def publish(found: Sequence[Cause], summary: str, reporter: Session) -> None:
    """Annotate a GitHub job with causes, and append ``summary``, in markdown, to its step's."""
    reporter.annotations[:] = annotated(found)
    if problem := append_summary(summary):
        reporter.warn(problem)


def finish(
    verdict: Verdict,
    reporter: Session,
    *,
    junit: Path | None,
    as_json: bool,
    annotate: bool,
    bisect: bool,
) -> NoReturn:
    """Print a verdict and exit with its code, or raise the error that ended it early."""
    reporter.close()
    directory = verdict.directory
    where = [f"run directory: {shown_path(directory.path)}", f"report: {shown_path(directory.report_html)}"]
    echo([*verdict.summary(), *where], err=as_json)
    if as_json:
        _print_json(directory.results_json.read_text().rstrip("\n"))
    if junit is not None:
        write_text(junit, directory.file("junit.xml").read_text())
    if annotate:
        results = Results.parse(directory.results_json.read_bytes())
        publish(causes(results), directory.file("summary.md").read_text(), reporter)
    if verdict.error is not None:
        raise verdict.error
    if bisect and verdict.only_unreadable:
        sys.exit(ExitCode.BISECT_SKIP)
    sys.exit(verdict.exit_code)
