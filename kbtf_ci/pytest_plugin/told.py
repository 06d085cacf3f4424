# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Errors of kbtf-ci in pytest's ways, a line and no traceback of ours; and warnings that are never silent."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

import kbtf_ci
from kbtf_ci.errors import KbtfError
from kbtf_ci.infra.text import printable

_OURS: Final = (str(Path(kbtf_ci.__file__).parent), contextlib.__file__)
_INSTALLED: Final = str(Path(pytest.__file__).parents[1])


def told(error: KbtfError) -> str:
    """Return an error as a line with its way out, and below it what else is worth seeing."""
    hint = f" ({error.hint})" if error.hint else ""
    lines = (f"{error.message}{hint}", *(f"    {line}" for line in error.detail.splitlines()))
    return "\n".join(map(printable, lines))


@contextmanager
def refusing() -> Iterator[None]:
    """Turn our errors into pytest's for a session that cannot begin."""
    try:
        yield
    except KbtfError as error:
        raise pytest.UsageError(f"kbtf-ci: {told(error)}") from error


@contextmanager
def failing() -> Iterator[None]:
    """Turn our errors into the failure of a test, with the line of the test's that they came of."""
    try:
        yield
    except KbtfError as error:
        text = f"kbtf-ci: {told(error)}{_caller(error)}"
        raise pytest.fail.Exception(text, pytrace=False) from None


def _caller(error: KbtfError) -> str:
    """Return the user's line that called us, "" where it was pytest."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(_OURS):
            is_users = not frame.filename.startswith(_INSTALLED)
            return f"\n{frame.filename}:{frame.lineno}: {frame.line}" if is_users else ""
    return ""


class PytestReporter:
    """A Reporter whose warnings stand in pytest's summary, of a worker's too. It tells nothing else."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def stage(self, name: str) -> None:
        """Tell nothing."""

    def progress(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Tell nothing."""

    def note(self, text: str) -> None:
        """Tell nothing."""

    def warn(self, text: str) -> None:
        """Warn whatever filters say: one that makes errors of warnings would leave a guest unbooted."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.warn(pytest.PytestWarning(f"kbtf-ci: {printable(text)}"), stacklevel=2)
        for one in caught:
            values = {"warning_message": one, "when": "runtest", "nodeid": "", "location": None}
            self._config.hook.pytest_warning_recorded.call_historic(kwargs=values)
