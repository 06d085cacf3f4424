# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci schema``."""

from __future__ import annotations

import click

from kbtf_ci.commands.options import common_options
from kbtf_ci.commands.session import echo, reporting
from kbtf_ci.infra.schemas import schema_text, schema_titles


@click.command()
@click.argument("name", required=False)
@common_options
def schema(*, name: str | None, quiet: bool, debug: bool) -> None:
    """Print the JSON Schema of what --json prints and run directories hold; without NAME, which there are."""
    with reporting(quiet=quiet, debug=debug):
        if name is None:
            echo(f"{one:<17}{title}" for one, title in schema_titles().items())
        else:
            click.echo(schema_text(name), nl=False)
