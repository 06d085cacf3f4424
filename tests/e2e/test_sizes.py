# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Full BTF against split BTF, with the real pahole over the modules of a real build."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Cli, results


@pytest.fixture(scope="module")
def first(smoke_run: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """The end of the first call on the smoke run."""
    done = Cli(tmp_path_factory.mktemp("sizes"))("sizes", smoke_run)
    assert done.returncode == 0, done.stderr
    return done


def test_full_btf_is_larger_for_every_module_and_many_times_in_total(
    smoke_run: Path, first: subprocess.CompletedProcess[str]
) -> None:
    values = json.loads((smoke_run / "sizes.json").read_text())
    verified = {entry["file"]: entry["btf_bytes"] for entry in results(smoke_run)["modules"]}
    assert {entry["file"]: entry["split_bytes"] for entry in values["modules"]} == verified
    assert [entry["file"] for entry in values["modules"] if entry["full_bytes"] < entry["split_bytes"]] == []
    assert values["totals"]["counted"] == len(verified)
    assert values["totals"]["ratio"] > 10


def test_the_flags_are_kbuilds_own_and_were_recorded_by_the_build(
    smoke_run: Path, first: subprocess.CompletedProcess[str]
) -> None:
    recorded = json.loads((smoke_run / "run.json").read_text())["pahole"]
    values = json.loads((smoke_run / "sizes.json").read_text())
    assert "pahole's flags" not in first.stderr
    assert values["pahole"]["flags"] == recorded["flags"]
    assert any(flag.startswith("--btf_features=") for flag in recorded["flags"])


def test_the_text_has_both_tables(first: subprocess.CompletedProcess[str]) -> None:
    lines = first.stdout.splitlines()
    full, split = lines.index("FULL BTF"), lines.index("SPLIT BTF")
    assert int(lines[full + 3]) > int(lines[split + 3])
    assert all(line.startswith("./") for line in lines[full + 5 : full + 15])


def test_a_second_call_encodes_nothing(
    cli: Cli, smoke_run: Path, first: subprocess.CompletedProcess[str]
) -> None:
    assert "encoded 0" not in first.stderr
    # No engine is needed for what is known already.
    again = cli("sizes", smoke_run, "--json", env={"DOCKER_HOST": "unix:///nonexistent/engine.sock"})
    assert again.returncode == 0, again.stderr
    assert "encoded 0 modules" in again.stderr
    assert json.loads(again.stdout) == json.loads((smoke_run / "sizes.json").read_text())


def test_a_run_directory_of_an_older_build_is_asked_again(
    cli: Cli, smoke_run: Path, spare_run: Path, first: subprocess.CompletedProcess[str]
) -> None:
    facts = json.loads((spare_run / "run.json").read_text())
    recorded = facts.pop("pahole")
    (spare_run / "run.json").write_text(json.dumps(facts))
    done = cli("sizes", spare_run)
    assert done.returncode == 0, done.stderr
    assert json.loads((spare_run / "run.json").read_text())["pahole"] == recorded


def test_stripped_modules_are_one_clear_line(cli: Cli, spare_run: Path) -> None:
    for path in (spare_run / "kernel/modules").rglob("*.ko"):
        path.write_bytes(
            (spare_run / "guest/modules" / path.relative_to(spare_run / "kernel/modules")).read_bytes()
        )
    (spare_run / "sizes.json").unlink(missing_ok=True)
    done = cli("sizes", spare_run, "-q")
    assert done.returncode == 2, done.stderr
    assert "pahole could encode none of its modules" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_holds_no_run(cli: Cli) -> None:
    done = cli("sizes", ".")
    assert done.returncode == 2
    assert "holds no run" in done.stderr
