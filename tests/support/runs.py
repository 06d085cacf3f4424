# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Run directories as a verification leaves them, made by its own renderers of what tests say was seen."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.fail_on import DEFAULT_FAIL_ON, FailOn
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.kernel_warning import KernelWarning, WarningKind
from kbtf_ci.model.module import Module
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.outcome import LoadMode, ModuleResult, Observation, judge, with_warnings
from kbtf_ci.model.run_record import RUN_SCHEMA, RunRecord
from kbtf_ci.workflow.verdict import Verdict

FACTS = KernelFacts("6.12.3", "c0", "130", "gcc 14")
HEADLINE = "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2"


def good(name: str) -> ModuleResult:
    """A module that is verified."""
    return judge(Module(name, f"kernel/{name}.ko", 10, "aa"), [Observation(name, LoadMode.REAL, 0, 10, "aa")])


def refused(name: str, *lines: str) -> ModuleResult:
    """A module whose BTF the kernel refused with these lines before its verdict."""
    log = (*lines, f"failed to validate module [{name}] BTF: -22")
    return judge(Module(name, f"kernel/{name}.ko", 10, "aa"), [Observation(name, LoadMode.REAL, 22, log=log)])


def unreached(name: str) -> ModuleResult:
    """A module that was not put before the kernel."""
    return judge(Module(name, f"kernel/{name}.ko", 10, "aa"), [])


def unreadable(name: str) -> ModuleResult:
    """A module whose file is cut short."""
    return judge(Module(name, f"kernel/{name}.ko", 0, "", fault="cut short"), [])


def warning(module: str = "") -> KernelWarning:
    """What the kernel warned of under a module, "" for none."""
    return KernelWarning(WarningKind.WARNING, HEADLINE, (HEADLINE, "Call Trace:"), module)


def verdict(
    folder: Path,
    *results: ModuleResult,
    warnings: Iterable[KernelWarning] = (),
    fail_on: Collection[FailOn] = DEFAULT_FAIL_ON,
    **more: Any,
) -> Verdict:
    """The end of a run of these results, with whatever else a Verdict has."""
    warned, others = with_warnings(results, warnings)
    plain = Verdict(RunDirectory(folder), FACTS, None, warned, warnings=others, fail_on=frozenset(fail_on))
    return replace(plain, **more)


def written(folder: Path, *results: ModuleResult, **more: Any) -> Path:
    """A run directory with their reports."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict(folder, *results, **more).write()
    record = RunRecord(schema=RUN_SCHEMA, wishes=BuildOptions("smoke", 1), kernel=FACTS)
    RunDirectory(folder).write_record(record)
    return folder
