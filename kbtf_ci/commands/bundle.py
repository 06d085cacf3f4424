# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci repro bundle`` and ``kbtf-ci repro replay``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kbtf_ci.commands import options
from kbtf_ci.commands.options import accel as accel_option
from kbtf_ci.commands.options import common_options, run_directory, timeouts_option
from kbtf_ci.commands.session import echo, echo_json, reporting
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.report import bundle as report
from kbtf_ci.workflow.bundle import make_bundle
from kbtf_ci.workflow.replay import replay as replay_bundle


@click.command()
@run_directory
@click.argument("module")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
              help="Archive to write; kbtf-MODULE-RELEASE.tar.gz without it.")  # fmt: skip
@common_options
def bundle(*, run_directory: Path, module: str, output: Path | None, quiet: bool, debug: bool) -> None:
    """Write MODULE's BTF, its kernel and what that said to an archive that boots anywhere."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        made = make_bundle(run_directory, module, output, reporter)
        reporter.close()
        echo(report.written(made.path, made.path.stat().st_size, made.sizes, made.bundle))


@click.command()
@click.argument("archive", metavar="BUNDLE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.suite("Debian suite of the toolchain.")
@accel_option
@timeouts_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
@common_options
def replay(
    *,
    archive: Path,
    suite: str,
    accel: str,
    timeouts: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Boot the kernel of BUNDLE, and hold what it says against what was recorded."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        found = replay_bundle(archive, suite, Accel(accel), Timeouts.parse(timeouts), reporter)
        reporter.close()
        echo_json(found.document()) if as_json else echo(found.text())
        sys.exit(found.exit_code)
