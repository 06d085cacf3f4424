# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci bisect``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands.options import (
    build_options,
    build_options_of,
    combine,
    command_line,
    common_options,
    fail_on,
    guest_options_of,
    test_options,
)
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.model.bisect import Mark
from kbtf_ci.workflow import bisect as workflow

_bisect_options = combine(
    click.option("--good", required=True, metavar="REVISION", help="A commit at which all is well."),
    click.option("--bad", required=True, metavar="REVISION", help="A later one at which it is not."),
    click.option("--module", default="", metavar="NAME", help="Bad means that this module is not VERIFIED."),
    click.option("--broken", type=click.Choice([Mark.SKIP.value, Mark.BAD.value]), default=Mark.SKIP.value,
                 show_default=True, help="What a commit is at which the kernel, or pahole, does not build."),
)  # fmt: skip


@click.command()
@_bisect_options
@build_options
@test_options
@fail_on
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@common_options
def bisect(*, output: Path | None, as_json: bool, quiet: bool, debug: bool, **options: Any) -> None:
    """Find the commit that broke modules' BTF, in the kernel of -C or in pahole of --pahole-tree.

    It works in a clone of its own. Interrupted, it goes on where the same command is given again.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        asked = workflow.BisectOptions(
            good=options["good"],
            bad=options["bad"],
            build=build_options_of(options),
            guest=guest_options_of(options),
            module=options["module"].replace("-", "_"),
            broken=Mark(options["broken"]),
            command=command_line(),
        )
        found = workflow.bisect(asked, output, reporter)
        reporter.close()
        echo_json(found.document()) if as_json else echo(found.text())
        sys.exit(found.exit_code)
