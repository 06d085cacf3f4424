# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci regen``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands import complete
from kbtf_ci.commands.options import build_options_of, combine, common_options, tree_options
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.errors import UsageError
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.regeneration import Scenario
from kbtf_ci.workflow import regen as workflow

_regen_options = combine(
    click.option("--config", default="", metavar="NAME", shell_complete=complete.profiles,
                 help="This profile's build, in place of RUNDIR."),
    tree_options,
    click.option("--scenario", "scenarios", multiple=True,
                 type=click.Choice([scenario.value for scenario in Scenario]),
                 help="What is done before make is called; repeatable, all of them without it."),
    click.option("--cache/--no-cache", default=False, show_default=True,
                 help="Measure with the BTF cache in the place of pahole."),
    click.option("--btf-server", "server", is_flag=True,
                 help="Repeat each make that wrote modules' BTF with a server in pahole, and compare."),
    click.option("--boot/--no-boot", default=None,
                 help="Boot what each make leaves; without either, where stale BTF is left."),
    click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON."),
    click.argument("words", nargs=-1, metavar="[RUNDIR | VAR=VALUE...]",
                   shell_complete=complete.run_directories),
)  # fmt: skip


@click.command()
@_regen_options
@common_options
def regen(*, words: tuple[str, ...], as_json: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Show what writing modules' BTF again costs on a finished build, and whether the right ones get it.

    The build is that of the run in RUNDIR, or with --config the one that the same options of `kbtf-ci build`
    made.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        found = workflow.regenerate(_asked(words, options), reporter)
        reporter.close()
        echo_json(found.document()) if as_json else echo(found.text())
        if found.error is not None:
            raise found.error
        sys.exit(found.exit_code)


def _asked(words: tuple[str, ...], options: dict[str, Any]) -> workflow.RegenOptions:
    folders = [word for word in words if Path(word).is_dir()]
    named = bool(options["config"])
    if named == bool(folders) or len(folders) > 1:
        if not named and words and not folders:
            raise UsageError(f"{words[0]}: no such folder", hint="name a run directory, or --config")
        raise UsageError("regen wants either a run directory or --config")
    variables = tuple(word for word in words if word not in folders)
    build = build_options_of({**options, "variables": variables})
    scenarios = tuple(Scenario(name) for name in options["scenarios"])
    if options["cache"] and options["server"]:
        raise UsageError("regen measures with --cache or with --btf-server: one of them at a time")
    asked = workflow.RegenOptions(
        build, scenarios, options["cache"], options["boot"], server=options["server"]
    )
    if not folders:
        return asked
    if build != BuildOptions(config="", jobs=build.jobs):
        raise UsageError(
            f"regen {folders[0]}: how that was built stands in it; of the build's options, -j is free"
        )
    return workflow.of_run(Path(folders[0]), asked)
