# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A build whose modules' BTF a server writes: run.json and the report say what it saved."""

from __future__ import annotations

import json
import os
from pathlib import Path

from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace
from tests.e2e.conftest import Cli


def test_a_build_says_what_the_server_saved(cli: Cli, smoke_run: Path) -> None:
    run = RunDirectory(smoke_run).read_build()
    with workspace.open_build(run.build_options, TerminalReporter(), run) as kbuild:
        modules = len(kbuild.modules)
        os.utime(kbuild.build_dir / "vmlinux")
    output = cli.folder / "served"
    done = cli("build", "--config", "smoke", "--btf-server", "-o", output)
    assert done.returncode == 0, done.stderr
    record = json.loads((output / "run.json").read_text())["btf_server"]
    assert (record["served"], record["fallbacks"]) == (modules, 0)
    assert 0 < record["start_cpu_s"] < record["cpu_s"]
    assert record["sample"] == 8
    assert record["sample_server_cpu_s"] > 0 < record["sample_pahole_cpu_s"]
    assert f"{modules} modules by a server, 0 by pahole itself" in done.stderr
    # Nothing was written anew, and of what an earlier make did nothing is claimed.
    again = cli.folder / "again"
    assert cli("build", "--config", "smoke", "--btf-server", "-o", again).returncode == 0
    assert "btf_server" not in json.loads((again / "run.json").read_text())
