# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The group of all commands, each read from its file when it is called: a worker process needs none."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem, ZshComplete, add_completion_class

from kbtf_ci import __version__
from kbtf_ci.errors import ExitCode

_COMMANDS = (
    "run", "build", "verify", "check", "module", "encode", "diagnose", "sizes", "regen", "repro", "bisect",
    "matrix", "worker", "report", "btf-cache", "pahole-wrapper", "cache-key", "prune", "shell", "image",
    "setup", "doctor", "schema", "completion",
)  # fmt: skip
_BISECT = "--bisect"


@add_completion_class
class _Zsh(ZshComplete):
    """As click's, whose script for zsh loses the items behind one without a value, as of an empty word."""

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return the item as the script reads it; of a file or folder it does not read the value."""
        item.value = item.value or "_"
        return super().format_completion(item)


class _Group(click.Group):
    """With --bisect, a call that click refuses says nothing about the commit."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of --help."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, None where there is none."""
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"kbtf_ci.commands.{name}"), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the commands that begin so; click would read the file of each, for its line of help."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name) for name in _COMMANDS if name.startswith(incomplete)]

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line and exit."""
        try:
            return super().main(*args, **kwargs)
        except SystemExit as end:
            if end.code == ExitCode.USAGE and _BISECT in sys.argv[1:]:
                raise SystemExit(ExitCode.BISECT_SKIP) from end
            raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Build a kernel, boot it, and prove that the BTF of every module still loads."""
