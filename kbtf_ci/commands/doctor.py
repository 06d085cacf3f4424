# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci doctor``."""

from __future__ import annotations

import sys

import click

from kbtf_ci.commands.options import common_options
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.errors import ExitCode
from kbtf_ci.workflow.doctor import examine


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@common_options
def doctor(as_json: bool, quiet: bool, debug: bool) -> None:
    """Show what was found of all that a run needs, and the way out of each fault."""
    with reporting(quiet=quiet, debug=debug):
        findings = examine()
    if as_json:
        echo_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            echo([f"{finding.state:<5}{finding.subject:<20}{finding.detail}"])
            if finding.remedy:
                echo([f"{'':<25}-> {finding.remedy}"])
    sys.exit(ExitCode.INFRASTRUCTURE if any(finding.state == "bad" for finding in findings) else 0)
