# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci prune``."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import click

from kbtf_ci.commands.options import combine, common_options
from kbtf_ci.commands.session import reporting
from kbtf_ci.workflow import prune as workflow

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LONGEST = timedelta(weeks=5200)


class _Age(click.ParamType[timedelta]):
    name = "AGE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,6})([hdw])", str(value))
        if match is None:
            self.fail(f"{value!r} is no age such as 12h, 14d or 8w", param, ctx)
        return min(int(match[1]) * _UNITS[match[2]], _LONGEST)


_prune_options = combine(
    click.option("--keep", type=_Age(), default="30d", show_default=True,
                 help="Leave what was used within this time: 12h, 14d, 8w."),
    click.option("--all", "everything", is_flag=True, help="Leave only what is in use now."),
    click.option("-n", "--dry-run", is_flag=True, help="Only show what would go."),
    click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON."),
)  # fmt: skip


@click.command()
@_prune_options
@common_options
def prune(
    *, keep: timedelta, everything: bool, dry_run: bool, as_json: bool, quiet: bool, debug: bool
) -> None:
    """Remove sources, builds, packages and images that no run used lately, and show what each holds.

    What is in use stays, and without --all the newest of each kind and what the next run uses.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        options = workflow.PruneOptions(keep, everything, dry_run)
        pruned = workflow.prune(options, reporter)
        reporter.close()
        click.echo(json.dumps(pruned.document(), indent=1) if as_json else "\n".join(pruned.text()))
