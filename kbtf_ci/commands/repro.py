# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci repro``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kbtf_ci.btf.cases.case import Case
from kbtf_ci.btf.cases.catalogue import CASES, named
from kbtf_ci.commands import complete
from kbtf_ci.commands.bundle import bundle, replay
from kbtf_ci.commands.options import (
    accel,
    build_options_of,
    combine,
    common_options,
    timeouts_option,
    tree_options,
)
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.errors import UsageError
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.infra.record import Reporter
from kbtf_ci.report import repro as report
from kbtf_ci.workflow import repro as workflow
from kbtf_ci.workflow.guests import GuestOptions

_LATEST = Path("runs/latest")


def _cases(_context: click.Context, _parameter: click.Parameter, word: str) -> complete.Items:
    return complete.beginning(word, (case.name for case in CASES))


def _runs_and_cases(context: click.Context, parameter: click.Parameter, word: str) -> complete.Items:
    return [*complete.run_directories(context, parameter, word), *_cases(context, parameter, word)]


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
_run_options = combine(
    click.option("--config", shell_complete=complete.profiles,
                 help="Try a finished build of this profile, defconfig target or .config."),
    tree_options,
    click.option("-o", "--output-dir", "output", type=click.Path(path_type=Path),
                 help="With --config: run directory to make; runs/<UTC time>-<profile>-repro without it."),
    click.option("--all", "everything", is_flag=True, help="Try every case."),
    accel,
    timeouts_option,
    _json,
    click.argument("words", nargs=-1, metavar="[RUNDIR] [NAME]...", shell_complete=_runs_and_cases),
)  # fmt: skip


@click.group()
def repro() -> None:
    """Provoke the failures that modules' BTF meets in the field, and hand on those that were met."""


repro.add_command(bundle)
repro.add_command(replay)


@repro.command("list")
@_json
@common_options
def list_cases(*, as_json: bool, quiet: bool, debug: bool) -> None:
    """Name all cases, with the number of their class."""
    with reporting(quiet=quiet, debug=debug):
        echo_json(report.catalogue_document(CASES)) if as_json else echo(report.catalogue(CASES))


@repro.command()
@click.argument("name", shell_complete=_cases)
@_json
@common_options
def show(*, name: str, as_json: bool, quiet: bool, debug: bool) -> None:
    """Say of a case what goes wrong, and what the kernel says then."""
    with reporting(quiet=quiet, debug=debug):
        cases = named([name])
        echo_json(report.catalogue_document(cases)) if as_json else echo(report.page(cases[0]))


@repro.command()
@_run_options
@common_options
def run(
    *,
    words: tuple[str, ...],
    everything: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **values: Any,
) -> None:
    """Try cases on the kernel of RUNDIR, of runs/latest, or of a finished build.

    RUNDIR may be of a run, a build, or verify --kernel. Without it, and without runs/latest, it is the build
    of the smoke profile.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        folder, names = _divided(words)
        if everything == bool(names):
            raise UsageError("repro run wants the names of cases, or --all", hint="kbtf-ci repro list")
        cases = CASES if everything else named(names)
        options = GuestOptions(Accel(values["accel"]), timeouts=Timeouts.parse(values["timeouts"]))
        found = _reproduce(folder, values, cases, options, reporter)
        reporter.close()
        echo_json(found.document()) if as_json else echo(found.text())
        sys.exit(found.exit_code)


def _reproduce(
    folder: Path | None,
    values: dict[str, Any],
    cases: Sequence[Case],
    options: GuestOptions,
    reporter: Reporter,
) -> workflow.Reproduced:
    config = values["config"]
    if folder is not None and config:
        raise UsageError(f"{folder} and --config {config}: one kernel, not two")
    if folder is None and not config and _LATEST.is_dir():
        folder = _LATEST
    if folder is not None:
        return workflow.reproduce(folder, cases, options, reporter)
    build = build_options_of({**values, "config": config or "smoke", "variables": ()})
    return workflow.reproduce_build(build, values["output"], cases, options, reporter)


def _divided(words: tuple[str, ...]) -> tuple[Path | None, tuple[str, ...]]:
    """Return the run directory among ``words``, and the others, which are names of cases.

    A case goes before a folder of the same name, which ./ in front makes a path. Raises UsageError for two.
    """
    known = {case.name for case in CASES}
    folders = [word for word in words if word not in known and ("/" in word or Path(word).is_dir())]
    if len(folders) > 1:
        raise UsageError(f"one run directory, not {len(folders)}: {', '.join(folders)}")
    return Path(folders[0]) if folders else None, tuple(word for word in words if word not in folders)
