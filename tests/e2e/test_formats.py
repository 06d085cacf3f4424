# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Reports as their readers' own tools see them: the kernel's parser of KTAP, the schema of JUnit's XML."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Final

import pytest
import xmlschema
from kcidb_io.schema import LATEST

from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.results import Results
from kbtf_ci.model.run_record import RunRecord
from kbtf_ci.report.junit import junit
from kbtf_ci.report.kcidb import kcidb
from kbtf_ci.report.ktap import ktap
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace
from tests.conftest import unavailable
from tests.e2e.conftest import Cli, results
from tests.support.job_runner import JobRunner
from tests.support.markdown import Page
from tests.support.shapes import SHAPES, Shape

# Jenkins' xUnit plugin has the schema, and pytest's release on PyPI a copy of it (MIT).
SDIST: Final = "pytest==8.4.2"
SHA256: Final = "86c0d0b93306b961d58d62a4db4879f27fe25513d4b969df351abdddb3c30e01"
XSD: Final = "testing/example_scripts/junit-10.xsd"


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> xmlschema.XMLSchema:
    folder = tmp_path_factory.mktemp("sdist")
    words = ("--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), SDIST)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *words], capture_output=True, text=True, check=False
    )
    found = list(folder.glob("*.tar.gz"))
    if done.returncode or not found:
        unavailable("network", f"{SDIST} cannot be had: {done.stderr}")
    assert hashlib.sha256(found[0].read_bytes()).hexdigest() == SHA256
    with tarfile.open(found[0]) as archive:
        member = archive.extractfile(f"{SDIST.replace('==', '-')}/{XSD}")
        assert member is not None
        return xmlschema.XMLSchema(member.read().decode())


@pytest.fixture(scope="session")
def kunit(smoke_run: Path) -> Path:
    """The kernel's own parser, in the source that the smoke run was built from."""
    reporter = TerminalReporter(quiet=True)
    options = BuildOptions("smoke", 1)
    tree = workspace.source(options, workspace.toolchain(options.suite, reporter), reporter)
    return tree.path / "tools/testing/kunit/kunit.py"


def parse(kunit: Path, file: Path) -> tuple[dict[str, int], int, str]:
    """Return what the kernel's parser counts in a file, its exit status, and all that it prints."""
    done = subprocess.run(
        [sys.executable, "-B", str(kunit), "parse", str(file)], capture_output=True, text=True, check=False
    )
    (line,) = re.findall(r"Testing complete\. Ran (\d+) tests: (.*)", done.stdout)
    counts = {name: int(number) for name, number in re.findall(r"(\w+): (\d+)", line[1])}
    return {"total": int(line[0]), **counts}, done.returncode, done.stdout


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_kernels_parser_counts_what_we_do(kunit: Path, shape: Shape, tmp_path: Path) -> None:
    (tmp_path / "results.ktap").write_text(ktap(shape.results))
    counts, status, said = parse(kunit, tmp_path / "results.ktap")
    failed = shape.failed + shape.errors
    expected = {"total": shape.total, "passed": shape.passed, "failed": failed}
    assert counts == {name: number for name, number in expected.items() if number}
    assert (status == 0) == (failed == 0)
    assert "[ERROR]" not in said


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_junit_is_valid_by_the_schema_of_jenkins(schema: xmlschema.XMLSchema, shape: Shape) -> None:
    schema.validate(junit(shape.results))


def test_the_schema_refuses_what_is_no_junit(schema: xmlschema.XMLSchema) -> None:
    assert not schema.is_valid("<testsuite name='x' tests='1'/>")
    warned = junit(SHAPES["warnings that count"].results)
    assert schema.is_valid(warned)
    assert not schema.is_valid(warned.replace("system-out", "system-in"))


def test_the_reports_of_a_real_run_are_read_alike(
    kunit: Path, schema: xmlschema.XMLSchema, smoke_run: Path
) -> None:
    schema.validate(str(smoke_run / "junit.xml"))
    counts, status, _ = parse(kunit, smoke_run / "results.ktap")
    modules = results(smoke_run)["totals"]["modules"]
    assert (counts, status) == ({"total": modules, "passed": modules}, 0)
    run = RunRecord.parse((smoke_run / "run.json").read_bytes())
    document = kcidb(Results.parse((smoke_run / "results.json").read_bytes()), run, "kernelci_lab")
    LATEST.validate_exactly(document)
    assert [one["status"] for one in document["tests"]] == ["PASS"] * modules


def test_a_job_of_github_actions_is_annotated_and_summed_up(cli: Cli, spare_run: Path) -> None:
    next((spare_run / "kernel/modules").rglob("ext2.ko")).write_bytes(b"")
    page = cli.folder / "step.md"
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(page)}
    done = cli("verify", spare_run, env=env)
    assert done.returncode == 1
    runner = JobRunner().take([*done.stdout.splitlines(), *done.stderr.splitlines()])
    assert not runner.is_stopped
    (one,) = runner.acted
    assert (one.name, one.data.splitlines()[:2]) == ("error", ["1 UNREADABLE", "ext2"])
    assert page.read_text() == (spare_run / "summary.md").read_text()
    Page.of(page.read_text()).check()
