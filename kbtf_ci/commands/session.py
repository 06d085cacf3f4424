# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""One command from its start to its exit code: signals, errors, and the line that tells of each."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from kbtf_ci.errors import ExitCode, InfrastructureError, InterruptError, KbtfError
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.verify import Verdict


@contextmanager
def reporting(*, quiet: bool, debug: bool, bisect: bool = False) -> Iterator[TerminalReporter]:
    """Give a reporter; turn signals into an orderly end, and errors into a line and an exit code."""
    _catch_signals()
    with TerminalReporter(quiet=quiet) as reporter:
        try:
            yield reporter
        except KbtfError as error:
            if debug:
                raise
            _print_error(error)
            sys.exit(_exit_code(error.exit_code, bisect=bisect))
        except OSError as error:
            # Whatever file or disk it was that no stage expected to fail.
            if debug:
                raise
            _print_error(InfrastructureError(f"{error.filename or 'the disk'}: {error.strerror or error}"))
            sys.exit(_exit_code(ExitCode.INFRASTRUCTURE, bisect=bisect))


def _catch_signals() -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        # Whoever presses ^C twice would otherwise interrupt the clean-up.
        for other in (signal.SIGINT, signal.SIGTERM):
            signal.signal(other, signal.SIG_IGN)
        raise InterruptError(f"interrupted by {signal.Signals(number).name}")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def _print_error(error: KbtfError) -> None:
    if error.detail:
        click.echo(error.detail, err=True)
    click.echo(f"kbtf-ci: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


def _exit_code(code: ExitCode, *, bisect: bool) -> ExitCode:
    says_nothing = code in (ExitCode.USAGE, ExitCode.BUILD_FAILED, ExitCode.INFRASTRUCTURE)
    return ExitCode.BISECT_SKIP if bisect and says_nothing else code


def finish(verdict: Verdict, reporter: TerminalReporter, *, junit: Path | None, as_json: bool) -> None:
    """Print a verdict and exit with its code, or raise the error that ended it early."""
    reporter.close()
    for line in verdict.summary():
        click.echo(line, err=as_json)
    click.echo(f"run directory: {verdict.directory.path}", err=as_json)
    if as_json:
        click.echo(verdict.directory.results_json.read_text(), nl=False)
    if junit is not None:
        verdict.write_junit(junit)
    if verdict.error is not None:
        raise verdict.error
    sys.exit(verdict.exit_code)
