# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The record of a run as it goes: which stage, how long each took, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.run_record import RunRecord

_RUNNING = "running"

# Hears how many are done, of how many.
Counter = Callable[[int, int], None]


def uncounted(done: int, total: int) -> None:
    """Be a Counter that tells nobody."""


class Reporter(Protocol):
    """Where a run tells what it does; the command line shows it to a person."""

    def stage(self, name: str) -> None:
        """Tell that stage ``name`` begins."""

    def progress(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Tell how far the stage is; may come many times a second.

        ``done`` counts what is done, 0 for what is not counted; ``total`` is how much there is, None where
        that is not known. ``text`` says what it is at.
        """

    def note(self, text: str) -> None:
        """Tell a fact worth a line."""

    def warn(self, text: str) -> None:
        """Tell something that went another way than asked for."""


class Record:
    """Keeps run.json true: it is there from the start, and replaced whole after each stage."""

    def __init__(self, directory: RunDirectory, reporter: Reporter, run: RunRecord) -> None:
        self._directory = directory
        self._reporter = reporter
        self._run = run

    @property
    def run(self) -> RunRecord:
        """What run.json holds."""
        return self._run

    def add(self, **changes: Any) -> None:
        """Give fields of the record other values and write it."""
        self._run = self._run.amended(changes)
        self._directory.write_record(self._run)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage, in seconds; its time is kept when it fails as well."""
        self._reporter.stage(name)
        began = time.monotonic()
        try:
            yield
        finally:
            took = round(time.monotonic() - began, 2)
            self.add(stages={**self._run.stages, name: took})

    def failed(self, error: BaseException) -> None:
        """Keep the word of the error that ended the run."""
        self.add(status=f"{type(error).__name__}: {error}")

    @contextmanager
    def track(self) -> Iterator[None]:
        """Keep whether the run is under way, how it ended, and its seconds."""
        self.add(status=_RUNNING)
        began = time.monotonic()
        try:
            yield
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            status = "done" if self._run.status == _RUNNING else self._run.status
            self.add(status=status, seconds=round(time.monotonic() - began, 2))
