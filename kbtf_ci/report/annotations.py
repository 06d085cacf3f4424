# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is wrong, as annotations of a GitHub Actions job: a workflow command a cause. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kbtf_ci.infra.text import printable
from kbtf_ci.model.cause import Cause
from kbtf_ci.model.names import some

# GitHub shows no more errors, and no more warnings, of one step.
_MOST: Final = 10
_NAMES: Final = 10
_LINES: Final = 4  # of the kernel's
_LONGEST: Final = 300  # characters of one line: the runner takes 4,096 of a message


def annotate(found: Sequence[Cause]) -> Iterator[str]:
    """Yield the commands, one a line: an error for what ends the run with 1, a warning for what does not.

    The tenth says how many more there are where there are more than ten.
    """
    yield from _at_most("error", [one for one in found if one.counts])
    yield from _at_most("warning", [one for one in found if not one.counts])


def _at_most(command: str, found: Sequence[Cause]) -> Iterator[str]:
    shown = found if len(found) <= _MOST else found[: _MOST - 1]
    yield from (_command(command, one.title, _message(one)) for one in shown)
    if more := len(found) - len(shown):
        yield _command(command, f"{more:,} more causes", ["summary.md and results.json name them."])


def _message(cause: Cause) -> list[str]:
    told = [f"{count} {name}" for name, count in (cause.outcomes or {}).items()]
    lines = [", ".join(told), some(cause.modules, _NAMES), *cause.lines[:_LINES], cause.explanation]
    return [line for line in lines if line] or [cause.title]


def _command(name: str, title: str, lines: Sequence[str]) -> str:
    return f"::{name} title={_property(_line(title))}::{_data(chr(10).join(map(_line, lines)))}"


def _line(text: str) -> str:
    return printable(text[:_LONGEST])[:_LONGEST]


def _data(text: str) -> str:
    """Escape a message as escapeData() of actions/toolkit does (packages/core/src/command.ts)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape a property's value as escapeProperty() there does."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
