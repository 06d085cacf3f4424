# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which build ``kbtf-ci regen`` is asked to play on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from kbtf_ci.infra import rundir
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model.options import BuildOptions, PrebuiltOptions
from kbtf_ci.model.regeneration import Finding, Ran, Rule, Scenario, Usage
from kbtf_ci.report.regen import Setting
from kbtf_ci.workflow import regen as workflow
from tests.support.records import run_record

RAN = Ran(frozenset(), frozenset(), False, Usage(1.0, 1.0, 1.0, 1))
FOUND = Finding(Scenario.NOTHING, RAN, (), (), (), (), (), (), (0, 0), {}, None)
CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[workflow.RegenOptions]:
    """What reaches the workflow."""
    asked: list[workflow.RegenOptions] = []

    def regenerate(options: workflow.RegenOptions, reporter: Reporter) -> workflow.Regenerated:
        asked.append(options)
        return workflow.Regenerated(Setting("6.12.3", 0, 1, 1, Rule.KEPT, cache=False), (FOUND,))

    monkeypatch.setattr(workflow, "regenerate", regenerate)
    return asked


def regen(*words: str | Path) -> Result:
    done = CliRunner().invoke(main, ["regen", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done


def test_a_configuration_takes_all_that_tells_one_build_from_another(
    asked: list[workflow.RegenOptions], tmp_path: Path
) -> None:
    pahole = tmp_path / "pahole"
    pahole.touch()
    done = regen(
        "--config", "smoke", "-K", "CONFIG_X=m", "--pahole", pahole, "--suite", "forky", "KCFLAGS=-O2"
    )
    assert done.exit_code == 0, done.output
    build = BuildOptions(
        "smoke", CORES, "forky", added=("CONFIG_X=m",), pahole=pahole, variables=("KCFLAGS=-O2",)
    )
    assert (asked[0].build, asked[0].run) == (build, None)


def test_a_run_directory_gives_its_own_options_and_record(
    asked: list[workflow.RegenOptions], tmp_path: Path
) -> None:
    directory = rundir.create(tmp_path / "run")
    options = BuildOptions("smoke", 7, added=("CONFIG_X=m",))
    record = run_record(kernel={"release": "6.12.3"}).amended({"options": options})
    directory.write_record(record)
    assert regen(directory.path, "-j3", "--scenario", "nothing").exit_code == 0
    assert asked[0].build == BuildOptions("smoke", 3, added=("CONFIG_X=m",))
    assert asked[0].run == directory.read_build()


def test_a_kernel_that_others_built_has_nothing_to_regenerate(tmp_path: Path) -> None:
    directory = rundir.create(tmp_path / "run")
    options = PrebuiltOptions(("linux.deb",))
    directory.write_record(run_record(kernel={"release": "6.12.3"}).amended({"options": options}))
    done = regen(directory.path)
    assert (done.exit_code, "there is no build of it" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "either a run directory or --config"),
        (("--config", "smoke", "."), "either a run directory or --config"),
        ((".", "."), "either a run directory or --config"),
        (("nowhere",), "nowhere: no such folder"),
        ((".", "V=1"), "how that was built stands in it"),
        ((".", "-K", "CONFIG_X=m"), "how that was built stands in it"),
        (("--config", "smoke", "what"), "what: not of the form VAR=VALUE"),
        (("--config", "smoke", "O=x"), "O=x: kbtf-ci sets O itself"),
    ],
)
def test_what_names_no_build_is_refused(words: tuple[str, ...], says: str) -> None:
    done = regen(*words)
    assert (done.exit_code, says in done.output) == (2, True), done.output
