# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands.options import (
    annotate,
    build_options,
    build_options_of,
    command_line,
    common_options,
    fail_on,
    guest_options,
    guest_options_of,
    prove,
)
from kbtf_ci.commands.session import finish, reporting
from kbtf_ci.model.options import TRACING
from kbtf_ci.workflow import run as workflow


@click.command()
@build_options
@guest_options
@annotate
@prove
@fail_on
@common_options
def run(*, output: Path | None, quiet: bool, debug: bool, bisect: bool, **options: Any) -> None:
    """Build a kernel, boot it, and verify the BTF of every module."""
    with reporting(quiet=quiet, debug=debug, bisect=bisect) as reporter:
        if options["prove"]:
            options["fragments"] = (TRACING, *options["fragments"])
        verdict = workflow.run(
            build_options_of(options), guest_options_of(options), output, command_line(), reporter
        )
        finish(
            verdict,
            reporter,
            junit=options["junit"],
            as_json=options["as_json"],
            annotate=options["annotate"],
            bisect=bisect,
        )
