# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The image's programs, as shipped and with sanitizers."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.runner import Runner
from tests.support.programs import Programs, build


@pytest.fixture(scope="session")
def runner(engine: Engine, toolchain: Toolchain) -> Runner:
    """Commands in the toolchain image."""
    return engine.runner(toolchain.image)


@pytest.fixture(scope="session")
def sanitized_folder(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs with ASAN and UBSAN."""
    folder = tmp_path_factory.mktemp("sanitized")
    done = build(runner, folder)
    assert done.status == 0, done.text
    return folder


@pytest.fixture
def sanitized(sanitized_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    """The programs with ASAN and UBSAN, and a folder for their reports."""
    return Programs(sanitized_folder, tmp_path_factory.mktemp("reports"))


@pytest.fixture
def programs(request: pytest.FixtureRequest) -> Programs:
    """The programs with ASAN and UBSAN, and as shipped too for a test that is marked ``SHIPPED``."""
    if getattr(request, "param", None) == "shipped":
        return Programs()
    found = request.getfixturevalue("sanitized")
    assert isinstance(found, Programs)
    return found
