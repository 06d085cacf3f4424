# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci regen``."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands.options import combine, common_options
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.errors import UsageError
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.regeneration import Scenario
from kbtf_ci.workflow import regen as workflow

_regen_options = combine(
    click.option("--config", default="", metavar="NAME", help="This profile's build, in place of RUNDIR."),
    click.option("-C", "--directory", default="", metavar="DIR|TARBALL|URL",
                 help="Its kernel source; without it the suite's own package."),
    click.option("--sha256", default="", help="What a URL's download must hash to."),
    click.option("--suite", default=DEFAULT_SUITE, show_default=True, help="Debian suite of the toolchain."),
    click.option("-j", "--jobs", type=click.IntRange(min=1), default=len(os.sched_getaffinity(0)),
                 show_default="cores", help="Jobs of make."),
    click.option("--scenario", "scenarios", multiple=True,
                 type=click.Choice([scenario.value for scenario in Scenario]),
                 help="What is done before make is called; repeatable, all of them without it."),
    click.option("--cache/--no-cache", default=False, show_default=True,
                 help="Measure with the BTF cache in the place of pahole."),
    click.option("--boot/--no-boot", default=None,
                 help="Boot what each make leaves; without either, where stale BTF is left."),
    click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON."),
)  # fmt: skip


@click.command()
@click.argument("run_directory", metavar="[RUNDIR]", required=False,
                type=click.Path(exists=True, file_okay=False, path_type=Path))  # fmt: skip
@_regen_options
@common_options
def regen(*, run_directory: Path | None, as_json: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Show what writing modules' BTF again costs on a finished build, and whether the right ones get it."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        if (run_directory is None) == (not options["config"]):
            raise UsageError("regen wants either a run directory or --config")
        if run_directory is not None:
            build = replace(workflow.options_of_run(run_directory), jobs=options["jobs"])
        else:
            named = {name: options[name] for name in ("config", "jobs", "suite", "directory", "sha256")}
            build = BuildOptions(**named)
        scenarios = tuple(Scenario(name) for name in options["scenarios"])
        found = workflow.regenerate(
            workflow.RegenOptions(build, scenarios, options["cache"], options["boot"]), reporter
        )
        reporter.close()
        echo_json(found.document()) if as_json else echo(found.text())
        if found.error is not None:
            raise found.error
        sys.exit(found.exit_code)
