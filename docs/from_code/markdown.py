# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Markdown of plain text: nothing in it means anything but itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

_MARKS = re.compile(r"([\\`*_{}\[\]<>#~$&])")


def plain(text: str) -> str:
    """Return a text so that markdown shows it as it is, in one line."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Return a text as a code span."""
    text = " ".join(text.split())
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table of cells that are markdown already, with an empty line behind it."""
    mark = "\\|"
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(cell.replace('|', mark) for cell in row)} |" for row in rows)
    yield ""


def block(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines as they are, in a fence."""
    yield "````text"
    yield from lines
    yield "````"
    yield ""
