# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci verify``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands import complete
from kbtf_ci.commands.options import (
    annotate,
    combine,
    command_line,
    common_options,
    fail_on,
    guest_options,
    guest_options_of,
    kernel_of_others,
    named_kernel,
    prove,
    suite,
)
from kbtf_ci.commands.session import finish, reporting
from kbtf_ci.errors import UsageError
from kbtf_ci.model.machines.table import MACHINES
from kbtf_ci.workflow import prebuilt
from kbtf_ci.workflow import run as workflow

_prebuilt_options = combine(
    kernel_of_others,
    click.option("--arch", "architecture", type=click.Choice([one.name for one in MACHINES]),
                 help="What the kernel is for, where its image does not say."),
    suite("Debian suite of QEMU's image."),
    click.option("-o", "--output-dir", "output", type=click.Path(path_type=Path),
                 help="Run directory to make with --kernel; runs/<UTC time>-prebuilt without it."),
)  # fmt: skip


@click.command()
@click.argument(
    "run_directory",
    metavar="[RUNDIR]",
    required=False,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    shell_complete=complete.run_directories,
)
@_prebuilt_options
@click.option(
    "--extra",
    multiple=True,
    metavar="FILE.ko",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A module to load besides the kernel's own; repeatable.",
)
@click.option("--extra-only", is_flag=True, help="Of the kernel's own modules only what --extra needs.")
@guest_options
@annotate
@prove
@fail_on
@common_options
def verify(*, run_directory: Path | None, quiet: bool, debug: bool, bisect: bool, **options: Any) -> None:
    """Boot RUNDIR's kernel, or one that others built, and verify its modules as they are now."""
    with reporting(quiet=quiet, debug=debug, bisect=bisect) as reporter:
        guest = replace(guest_options_of(options), extra=options["extra"], extra_only=options["extra_only"])
        if guest.extra_only and not guest.extra:
            raise UsageError("--extra-only wants modules", hint="name them with --extra FILE.ko")
        named = named_kernel(options)
        if (run_directory is None) == (named is None):
            raise UsageError("verify wants either a run directory or --kernel (or --root)")
        if run_directory is not None:
            verdict = workflow.verify(run_directory, guest, reporter)
        elif named is not None:
            verdict = prebuilt.verify(named, guest, options["output"], command_line(), reporter)
        finish(
            verdict,
            reporter,
            junit=options["junit"],
            as_json=options["as_json"],
            annotate=options["annotate"],
            bisect=bisect,
        )
