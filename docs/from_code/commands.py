# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every command with its options, as click knows them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from docs.from_code.markdown import block, code, plain
from kbtf_ci.commands.main import main


def page() -> Iterator[str]:
    """Yield a section a command, in the order of ``kbtf-ci --help``."""
    root = click.Context(main, info_name="kbtf-ci")
    yield from _sections(main, root)


def _sections(group: click.Group, above: click.Context) -> Iterator[str]:
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=name, parent=above)
        yield from _section(command, context)
        if isinstance(command, click.Group):
            yield from _sections(command, context)


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield ""
    yield from block([f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}"])
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from _paragraph(paragraph)
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and "--help" not in parameter.opts:
            yield code(record[0])
            yield f": {plain(record[1])}"
            yield ""


def _paragraph(text: str) -> Iterator[str]:
    """Yield a paragraph; click leaves the lines of one as they are that begins with a backspace."""
    if text.startswith("\b"):
        yield from block(text.splitlines()[1:])
    else:
        yield plain(text)
        yield ""
