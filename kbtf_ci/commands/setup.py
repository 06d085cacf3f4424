# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci setup``."""

from __future__ import annotations

import click

from kbtf_ci.commands.options import common_options
from kbtf_ci.commands.session import reporting
from kbtf_ci.container import provision
from kbtf_ci.container.image import DEFAULT_SUITE
from kbtf_ci.infra.engines import EngineKind, chosen
from kbtf_ci.workflow.workspace import toolchain


@click.command()
@common_options
def setup(quiet: bool, debug: bool) -> None:
    """Install and start what is missing on this machine: a container engine, the toolchain image.

    With --engine host nothing is installed: what is missing is named, and kbtf-ci's own programs are made.
    """
    with reporting(quiet=quiet, debug=debug) as reporter:
        reporter.stage("setup")
        if chosen() is EngineKind.CONTAINER:
            provision.setup(reporter.note)
        toolchain(DEFAULT_SUITE, reporter)
