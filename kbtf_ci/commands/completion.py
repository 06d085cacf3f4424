# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci completion``."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from kbtf_ci.commands.options import common_options
from kbtf_ci.commands.session import reporting

_PROGRAM: Final = "kbtf-ci"
_VARIABLE: Final = "_KBTF_CI_COMPLETE"  # which click looks for, by the program's name
_SHELLS: Final[dict[str, type[ShellComplete]]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@common_options
@click.pass_context
def completion(context: click.Context, *, shell: str, quiet: bool, debug: bool) -> None:
    """Print what makes a shell complete the commands, options, profiles, cases and run directories."""
    with reporting(quiet=quiet, debug=debug):
        made = _SHELLS[shell](context.find_root().command, {}, _PROGRAM, _VARIABLE)
        click.echo(made.source(), nl=False)
