# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How the fixtures come to what they give, and what becomes of a test where they do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

import pytest

from kbtf_ci.pytest_plugin.objects import Build, Run
from kbtf_ci.pytest_plugin.session import SessionPlugin
from kbtf_ci.pytest_plugin.told import PytestReporter, failing
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.live_guest import LiveGuest, live_guest

_REQUIRE: Final = "KBTF_CI_REQUIRE"


def run(config: pytest.Config) -> Run:
    """Return the run of this session; without one skip the test, or fail it where it may not be skipped."""
    plugin = SessionPlugin.of(config)
    if plugin is None:
        _unavailable("no run directory of kbtf-ci: --kbtf-run names one, --kbtf-config makes one")
    return plugin.run


def build(run: Run) -> Build:
    """Return the kernel of a run."""
    with failing():
        return Build.of(run)


@contextmanager
def guest(config: pytest.Config, run: Run, console: Path) -> Iterator[LiveGuest]:
    """Boot a guest of a run."""
    with failing(), live_guest(run.path, GuestOptions(), PytestReporter(config), console) as guest:
        yield guest


def _unavailable(reason: str) -> NoReturn:
    required = os.environ.get(_REQUIRE, "").replace(",", " ").split()
    if "run" in required or "all" in required:
        pytest.fail(f"{_REQUIRE} asks for a run: {reason}", pytrace=False)
    pytest.skip(reason)
