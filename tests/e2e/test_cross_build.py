# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels built for other architectures, booted emulated: every module's BTF is verified."""

from __future__ import annotations

import json

import pytest

from kbtf_ci.kernel.target import NATIVE, TARGETS
from tests.e2e.conftest import Cli

pytestmark = pytest.mark.full
FOREIGN = [target.architecture for target in TARGETS if target is not NATIVE]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("architecture", FOREIGN)
def test_the_smoke_profile_is_built_and_verified(cli: Cli, architecture: str) -> None:
    output = cli.folder / architecture
    done = cli("run", "--config", "smoke", "--arch", architecture, "-o", output)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((output / "results.json").read_text())
    assert results["totals"]["verified"] == results["totals"]["modules"] > 40
    assert results["guest"]["architecture"] == architecture
    assert json.loads((output / "run.json").read_text())["architecture"] == architecture
