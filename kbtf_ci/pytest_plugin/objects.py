# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What tests are handed: a run directory, and the kernel in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.text import printable
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.results import ModuleEntry, Results
from kbtf_ci.model.run_record import RunRecord
from kbtf_ci.objfile.inventory import packed_file
from kbtf_ci.workflow.report import read_results


@dataclass(frozen=True)
class Run:
    """A run directory: ``results`` is its results.json."""

    path: Path
    results: Results

    @classmethod
    def read(cls, path: Path) -> Run:
        """Return the run in a folder. Raises UsageError where there is none, or none with results."""
        directory = RunDirectory(path.absolute())
        if not directory.results_json.is_file():
            if directory.run_json.is_file():
                raise UsageError(f"{path}: has no results yet", hint=f"kbtf-ci verify {path} makes them")
            raise UsageError(f"{path}: holds no run (results.json)", hint="name a run directory of kbtf-ci's")
        return cls(directory.path, read_results(directory.results_json))

    @cached_property
    def record(self) -> RunRecord:
        """What ran: its run.json. Raises UsageError where it cannot be read."""
        return RunDirectory(self.path).read_record()

    @cached_property
    def outcomes(self) -> Mapping[str, Outcome]:
        """The outcome of each module by its name."""
        return {module.name: module.outcome for module in self.results.modules}

    def module(self, name: str) -> ModuleEntry:
        """Return what is known of a module. Raises UsageError where the run has none of this name."""
        for module in self.results.modules:
            if module.name == name.replace("-", "_"):
                return module
        raise UsageError(f"{self.path}: has no module {printable(name)}")


@dataclass(frozen=True)
class Build:
    """A kernel and its modules as they were built, or of others' kernels as they were found."""

    run: Run
    kernel: BuiltKernel

    @classmethod
    def of(cls, run: Run) -> Build:
        """Return the kernel of a run. Raises UsageError where it has none."""
        directory = RunDirectory(run.path)
        return cls(run, directory.kernel_of(directory.read_built()))

    @property
    def release(self) -> str:
        """The kernel's release, as ``uname -r`` says it."""
        return self.kernel.facts.release

    @property
    def image(self) -> Path:
        """The image that boots."""
        return self.kernel.image

    @property
    def modules(self) -> Path:
        """The folder that the modules lie below, as below /lib/modules/<release>."""
        return self.kernel.modules

    @property
    def config(self) -> Mapping[str, str]:
        """The configuration, ``CONFIG_X`` to value; empty where it is not known."""
        return self.kernel.config

    def module(self, name: str) -> Path:
        """Return the file of a module, which may be compressed. Raises UsageError where there is none."""
        return packed_file(self.modules, self.run.module(name).file)
