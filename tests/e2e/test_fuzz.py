# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The offline check against the kernel itself: errno, every line of the log and sysfs, mutant by mutant.

KBTF_CI_MUTANTS and KBTF_CI_SEED say how many and which, KBTF_CI_FUZZ_RUN names the run directory of another
kernel, KBTF_CI_FUZZ_OUT the file for mutants over which the two disagree, and KBTF_CI_FUZZ_RERUN such a file,
whose mutants are then the only ones.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from kbtf_ci.btf.format.header import magic_order
from kbtf_ci.btf.predict.kernel_btf import rules_of
from kbtf_ci.btf.rules.check import RULES, Kernel
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runner import Runner
from kbtf_ci.model.version import parse_version
from kbtf_ci.objfile.files import read_kernel_file, read_module_file
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace
from tests.support import fuzz, sketch
from tests.support.edges import OUT_OF_REACH, Edge, edges
from tests.support.fuzzguest import Loads, Subject
from tests.support.mutate import Mutant, mutants
from tests.support.vmlinux import Vmlinux

COUNT = int(os.environ.get("KBTF_CI_MUTANTS", "400"))
SEED = int(os.environ.get("KBTF_CI_SEED", "1"))


@dataclass(frozen=True)
class Fuzzed:
    """One run: the kernel's version, what was loaded, and how it compares."""

    version: tuple[int, int]
    mutants: dict[str, Mutant]
    edges: dict[str, Edge]
    result: fuzz.Comparison


@pytest.fixture(scope="module")
def run_directory(request: pytest.FixtureRequest) -> Path:
    given = os.environ.get("KBTF_CI_FUZZ_RUN")
    if given:
        return Path(given)
    smoke_run: Path = request.getfixturevalue("smoke_run")
    return smoke_run


@pytest.fixture(scope="module")
def fuzzed(
    engine: Engine, toolchain: Toolchain, run_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Fuzzed:
    config = (run_directory / "kernel.config").read_text()
    assert "CONFIG_MODULE_ALLOW_BTF_MISMATCH=y" not in config, "this kernel would hide what it refuses"
    file = read_kernel_file(run_directory / "kernel/vmlinux")
    version = parse_version(file.release)
    assert version
    kernel = Kernel.open(file.btf, rules_of(file, version))
    vmlinux = Vmlinux(little_endian(file.btf))
    table = {f"edge{number:05}": edge for number, edge in enumerate(edges(vmlinux))}
    made = chosen(run_directory, vmlinux)
    everything = {name: edge.mutant for name, edge in table.items()} | made
    if kernel.order == ">":
        everything = {name: one.turned() for name, one in everything.items() if not one.halved}
        made = {name: one for name, one in made.items() if name in everything}
        table = {name: edge for name, edge in table.items() if name in everything}
    folder = tmp_path_factory.mktemp("fuzz")
    loads = Loads(runner_for(run_directory, toolchain, engine), Subject.of(run_directory), folder)
    result = fuzz.compare(kernel, loads, everything)
    out = Path(os.environ.get("KBTF_CI_FUZZ_OUT") or folder / "disagreements.jsonl")
    fuzz.save(out, result.disagreements)
    sys.stdout.write(f"\n{result.told()}\nseed {SEED}, disagreements in {out}\n")
    return Fuzzed(version, made, table, result)


def chosen(run_directory: Path, vmlinux: Vmlinux) -> dict[str, Mutant]:
    if rerun := os.environ.get("KBTF_CI_FUZZ_RERUN"):
        return dict(fuzz.load(Path(rerun)))
    modules = sorted((run_directory / "kernel/modules").rglob("*.ko"))
    btf = {path.stem: btf_of(path) for path in modules}
    return {f"seed{SEED}_{number:06}": one for number, one in enumerate(mutants(SEED, COUNT, btf, vmlinux))}


def btf_of(path: Path) -> bytes:
    btf = read_module_file(path).btf
    assert btf is not None, path
    return little_endian(btf)


def little_endian(btf: bytes) -> bytes:
    """Return BTF as the mutants are made of it; those of a big-endian kernel are turned at the end."""
    return sketch.turned(btf, ">") if magic_order(btf) == ">" else btf


def runner_for(run_directory: Path, toolchain: Toolchain, engine: Engine) -> Runner:
    """Return a runner in what guests of the run's kernel boot in."""
    directory = RunDirectory(run_directory)
    kernel = directory.kernel_of(directory.read_record())
    tools = workspace.Tools(toolchain, engine.runner(toolchain.image))
    return workspace.guest_tools(tools, kernel, TerminalReporter(quiet=True)).runner


def test_prediction_and_kernel_agree_on_every_mutant(fuzzed: Fuzzed) -> None:
    result = fuzzed.result
    assert len(result.seen) + len(result.skipped) == len(fuzzed.mutants) + len(fuzzed.edges)
    assert not result.disagreements, result.told()


def only_on_edges_kernel(fuzzed: Fuzzed) -> None:
    """Of another kernel, which KBTF_CI_FUZZ_RUN brings, prediction and observation are compared alone."""
    if fuzzed.version != (6, 12):
        assert "KBTF_CI_FUZZ_RUN" in os.environ
        pytest.skip("the hand-made edges are those of Linux 6.12")


def test_the_kernel_does_at_every_limit_what_its_source_says(fuzzed: Fuzzed) -> None:
    only_on_edges_kernel(fuzzed)
    seen = fuzzed.result.seen
    wrong = [
        (edge.mutant.text, edge.errno, edge.words, seen[name].errno, seen[name].log)
        for name, edge in fuzzed.edges.items()
        if not edge.agrees(seen[name].errno, seen[name].log)
    ]
    assert wrong == []


def test_every_check_decided_at_least_once(fuzzed: Fuzzed) -> None:
    only_on_edges_kernel(fuzzed)
    # Which takes two types of one name and size, as some kernel of KBTF_CI_FUZZ_RUN has not.
    made = {edge.rule for edge in fuzzed.edges.values()}
    without = {"relocate.ambiguous"} - made if os.environ.get("KBTF_CI_FUZZ_RUN") else set()
    assert set(RULES) - set(fuzzed.result.rules) == set(OUT_OF_REACH) | without


def test_few_mutants_are_left_out(fuzzed: Fuzzed) -> None:
    assert len(fuzzed.result.skipped) <= len(fuzzed.mutants) // 50
