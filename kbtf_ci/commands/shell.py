# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci shell``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from kbtf_ci.commands.options import common_options, guest_options, guest_options_of, run_directory
from kbtf_ci.commands.session import reporting
from kbtf_ci.workflow import run as workflow


@click.command()
@run_directory
@guest_options
@common_options
def shell(run_directory: Path, quiet: bool, debug: bool, **options: Any) -> None:
    """Boot RUNDIR's kernel and open a shell in the guest over SSH."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        status = workflow.shell(run_directory, guest_options_of(options), reporter)
    sys.exit(status)
