# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A job of GitHub Actions: what we print is no command to it, and what is wrong stands on its page."""

from __future__ import annotations

import atexit
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click

from kbtf_ci.report.markdown import fitting

# The runner refuses a file that is larger (CreateStepSummaryCommand of actions/runner).
_SUMMARY_BYTES: Final = 1024 * 1024


def in_job() -> bool:
    """Return whether this is a step of a GitHub Actions job."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


@contextmanager
def commands_stopped(afterwards: Iterable[str]) -> Iterator[None]:
    """Let the runner take no line for a command meanwhile, and print ``afterwards`` for it at the end.

    Standard output and standard error reach the runner in an order of their own, so that this alone does not
    do: whatever prints to either makes its lines inert besides.
    """
    stopped = _Stopped() if in_job() else None
    try:
        yield
    finally:
        if stopped:
            stopped.end()
        for line in afterwards:
            _tell(line)


class _Stopped:
    """Commands are not taken until the runner sees a token that nobody can guess."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(16)
        atexit.register(self.end)  # for an interrupt that hits the end itself
        _tell(f"::stop-commands::{self._token}")

    def end(self) -> None:
        if self._token:
            _tell(f"::{self._token}::")
            self._token = ""
            atexit.unregister(self.end)


def _tell(line: str) -> None:
    with suppress(OSError):  # nobody reads it any more
        click.echo(line, err=True)


def append_summary(document: str) -> str:
    """Append markdown to the step's summary; return why it could not, or not all of it, "" where all is well.

    Without GITHUB_STEP_SUMMARY nothing is written. What the file holds already counts for its limit.
    """
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return ""
    try:
        with Path(name).open("ab") as file:
            size = file.tell()
            text = fitting(f"\n{document}" if size else document, _SUMMARY_BYTES - size)
            file.write(text.encode())
    except OSError as error:
        return f"{name}: the step's summary cannot be written: {error.strerror or error}"
    if not text:
        return f"{name}: the step's summary holds {size:,} bytes, and GitHub takes no more than 1 MiB"
    return ""
