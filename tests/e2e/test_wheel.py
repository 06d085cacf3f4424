# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""As a user does it: the wheel into an empty environment by pip, and a kernel built, booted and verified."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from tests.support.cache import OwnCache

pytestmark = [pytest.mark.engine, pytest.mark.full]

ROOT = Path(__file__).parents[2]


def test_from_the_wheel_to_the_verdict(engine: Engine, own: OwnCache, tmp_path: Path) -> None:
    own.seed()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=ROOT,
        check=True,
    )
    (wheel,) = (tmp_path / "dist").iterdir()
    venv.create(tmp_path / "venv", with_pip=True, symlinks=True)
    bin_ = str(tmp_path / "venv" / "bin")
    pip = [
        f"{bin_}/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        str(ROOT / "constraints.txt"),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    call = [f"{bin_}/kbtf-ci", "run", "--config", "smoke", "--accel", "tcg", "-o", "runs/wheel"]
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "run directory: runs/wheel\n" in done.stdout
    totals = json.loads((tmp_path / "runs/wheel/results.json").read_text())["totals"]
    assert totals["modules"] == totals["verified"] > 50
