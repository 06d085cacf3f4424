# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What pytest loads wherever kbtf-ci is installed: options and fixtures.

It is read at the start of every session of every project, so that nothing of ours is imported here before an
option or a fixture asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kbtf_ci.pytest_plugin.objects import Build, Run
    from kbtf_ci.workflow.live_guest import LiveGuest

_OPTIONS = ("kbtf_run", "kbtf_config", "kbtf_output_dir")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--kbtf-run``, ``--kbtf-config`` and ``--kbtf-output-dir``."""
    group = parser.getgroup("kbtf-ci", "BTF of kernel modules (kbtf-ci)")
    group.addoption(
        "--kbtf-run", metavar="RUNDIR", help="A test for each module of this run directory of kbtf-ci's."
    )
    group.addoption(
        "--kbtf-config",
        metavar="CONFIG",
        help="The same of a run made first: a profile, a defconfig target or a .config, as kbtf-ci run's.",
    )
    group.addoption(
        "--kbtf-output-dir",
        metavar="DIR",
        help="Run directory that --kbtf-config makes; runs/<UTC time>-<profile> without it.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Go to work where an option asks for it."""
    config.addinivalue_line("markers", "kbtf: what kbtf-ci found of one kernel module, or of the kernel")
    if any(config.getoption(option) for option in _OPTIONS):
        _ours("session").start(config)


@pytest.fixture(scope="session")
def kbtf_run(request: pytest.FixtureRequest) -> Run:
    """What kbtf-ci found in the run directory of this session."""
    run: Run = _ours("fixtures").run(request.config)
    return run


@pytest.fixture(scope="session")
def kbtf_build(kbtf_run: Run) -> Build:
    """The kernel and the modules of that run directory, as they were built."""
    build: Build = _ours("fixtures").build(kbtf_run)
    return build


@pytest.fixture(scope="session")
def kbtf_guest(
    request: pytest.FixtureRequest, kbtf_run: Run, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveGuest]:
    """Give a guest of that kernel, booted for this process, with no module loaded."""
    console = tmp_path_factory.mktemp("kbtf") / "console.log"
    with _ours("fixtures").guest(request.config, kbtf_run, console) as guest:
        yield guest


def _ours(name: str) -> Any:
    return import_module(f"kbtf_ci.pytest_plugin.{name}")
