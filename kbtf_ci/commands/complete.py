# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a shell may put in the place of a word that is not finished.

A file or folder goes first among the items: click's function for bash forgets what came before it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import click
from click.shell_completion import CompletionItem

from kbtf_ci.container.base import SUITES
from kbtf_ci.infra.matrix_file import known_matrices
from kbtf_ci.infra.profiles import known_fragments, known_profiles

Items: TypeAlias = "list[CompletionItem[str]]"  # in quotes: generic since click 8.5

_RUNS: Final = Path("runs")


def profiles(_context: click.Context, _parameter: click.Parameter, word: str) -> Items:
    """Return the profiles that ship, besides any file."""
    return [CompletionItem(word, type="file"), *beginning(word, known_profiles())]


def fragments(_context: click.Context, _parameter: click.Parameter, word: str) -> Items:
    """Return the fragments that ship, besides any file."""
    return [CompletionItem(word, type="file"), *beginning(word, known_fragments())]


def matrices(_context: click.Context, _parameter: click.Parameter, word: str) -> Items:
    """Return the matrices that ship, besides any file."""
    return [CompletionItem(word, type="file"), *beginning(word, known_matrices())]


def paholes(_context: click.Context, _parameter: click.Parameter, word: str) -> Items:
    """Return the suites whose pahole may be named, besides any file."""
    return [CompletionItem(word, type="file"), *beginning(word, SUITES)]


def run_directories(_context: click.Context, _parameter: click.Parameter, word: str) -> Items:
    """Return the run directories below ``runs``, the newest first, besides any folder."""
    return [CompletionItem(word, type="dir"), *beginning(word, _runs())]


def runs_and_files(_context: click.Context, _parameter: click.Parameter, word: str) -> Items:
    """Return the same besides any file."""
    return [CompletionItem(word, type="file"), *beginning(word, _runs())]


def beginning(word: str, names: Iterable[str]) -> Items:
    """Return those of ``names`` that begin with ``word``.

    Shells take them for what they type themselves: one that would have to be quoted is left out.
    """
    return [CompletionItem(name) for name in names if name.startswith(word) and shlex.quote(name) == name]


def _runs() -> Iterator[str]:
    with suppress(OSError):
        found = sorted(path.parent for path in _RUNS.glob("*/run.json"))
        # The newest has the latest time in its name, and "latest" is behind them all.
        yield from (str(path) for path in reversed(found))
