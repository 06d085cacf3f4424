# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Text of files and guests in GitHub's markdown: none of it is markup, a link or a mention. Pure."""

from __future__ import annotations

import re
from typing import Final

from kbtf_ci.infra.text import printable

LONGEST: Final = 500  # characters of one text
# Words that mean themselves wherever they stand. GitHub looks for names (@), issues (#, GH-1, ABC-1), commits
# and addresses in the text that a browser would show, so that no backslash or entity keeps it from that; what
# is code it leaves alone. An underscore within a word marks nothing.
_PLAIN: Final = re.compile(
    r"(?:[A-Za-z0-9(]|[+-](?=\d))(?:[A-Za-z0-9 ,.;:()'\"/+%=>?-]|(?<=[A-Za-z0-9])_(?=[A-Za-z0-9]))*"
)
_FOUND: Final = re.compile(
    r"://|www\.|mailto:|xmpp:|\b[A-Z]{2,}-\d|\b[0-9a-f]{7,40}\b|:\w+:|^\d+[.)](?=\s|$)", re.IGNORECASE
)


def text(value: str, longest: int = LONGEST) -> str:
    """Return a text as it is where all in it is plain words, else as code, on one line and of bounded length.

    It may stand in a paragraph, in a heading, and in a table's cell.
    """
    shown = printable(value)[:longest]
    return shown if _PLAIN.fullmatch(shown) and not _FOUND.search(shown) else _code(shown)


def _code(shown: str) -> str:
    """Return it as a code span (CommonMark 0.31, 6.1), which ends where as many backticks follow each other.

    A bar would end a table's cell even there.
    """
    if not shown.strip():
        return ""
    ticks = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if shown[0] in " `" or shown[-1] in " `" else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}".replace("|", r"\x7c")
