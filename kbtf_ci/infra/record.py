# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The record of a run as it goes: which stage, how long each took, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from kbtf_ci.infra.rundir import RunDirectory

_RUNNING = "running"


class Reporter(Protocol):
    """Where a run tells what it does; the command line shows it to a person."""

    def stage(self, name: str) -> None:
        """Tell that stage ``name`` begins."""

    def progress(self, text: str) -> None:
        """Tell how far the stage is; may come many times a second."""

    def note(self, text: str) -> None:
        """Tell a fact worth a line."""

    def warn(self, text: str) -> None:
        """Tell something that went another way than asked for."""


class Record:
    """Keeps run.json true: it is there from the start, and replaced whole after each stage."""

    def __init__(self, directory: RunDirectory, reporter: Reporter, facts: dict[str, Any]) -> None:
        self._directory = directory
        self._reporter = reporter
        self._facts = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "stages": {},
            **facts,
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json holds."""
        return self._facts

    def add(self, **facts: Any) -> None:
        """Add or replace facts and write them."""
        self._facts.update(facts)
        self._directory.write_run(self._facts)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage, in seconds; its time is kept when it fails as well."""
        self._reporter.stage(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self._facts["stages"][name] = round(time.monotonic() - began, 2)
            self._directory.write_run(self._facts)

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
            status = self._facts["status"]
            self.add(
                status="done" if status == _RUNNING else status, seconds=round(time.monotonic() - began, 2)
            )
