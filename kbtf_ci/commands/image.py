# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci image build`` and ``kbtf-ci image export``."""

from __future__ import annotations

from pathlib import Path

import click

from kbtf_ci.commands import options
from kbtf_ci.commands.options import common_options
from kbtf_ci.commands.session import echo, reporting
from kbtf_ci.workflow.image import export_image, make_image


@click.group()
def image() -> None:
    """Make the toolchain image, or write it to a file: a CI job's own image, for --engine host."""


@image.command()
@options.suite("Debian suite of the image.")
@common_options
def build(*, suite: str, quiet: bool, debug: bool) -> None:
    """Make the toolchain image unless it is there, and print its name."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        name = make_image(suite, reporter)
        reporter.close()
        echo([name])


@image.command()
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@options.suite("Debian suite of the image.")
@common_options
def export(*, file: Path, suite: str, quiet: bool, debug: bool) -> None:
    """Write the toolchain image, made unless it is there, to FILE, as `docker load` reads it."""
    with reporting(quiet=quiet, debug=debug) as reporter:
        name = export_image(suite, file, reporter)
        reporter.close()
        echo([f"{file}: {name}, {file.stat().st_size:,} bytes"])
