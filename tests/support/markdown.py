# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Markdown as a browser would show it, read by an independent parser (markdown-it-py)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

# What our documents are made of; no link, no image, no HTML.
_OURS = {
    "heading", "paragraph", "table", "thead", "tbody", "tr", "th", "td", "strong", "inline", "text",
    "code_inline", "code_block", "softbreak",
}  # fmt: skip
# What GitHub finds in the text of a page that is no code: names, issues, addresses, commits, emoji.
_FOUND = re.compile(
    r"[@#<&\\`*~$\[\]|]|://|www\.|mailto:|\b(?:GH|[A-Z]{2,})-\d|\b[0-9a-f]{7,40}\b|:[a-z]+:", re.IGNORECASE
)


@dataclass(frozen=True)
class Page:
    """The tokens of a document, those within lines in place of the lines."""

    tokens: tuple[Token, ...]

    @classmethod
    def of(cls, document: str) -> Page:
        """Read with what GitHub has besides CommonMark, raw HTML among it."""
        reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        found: list[Token] = []
        for token in reader.parse(document):
            found += (token, *(token.children or ()))
        return cls(tuple(found))

    @property
    def text(self) -> str:
        return "\n".join(
            token.content for token in self.tokens if token.type in ("text", "code_inline", "code_block")
        )

    @property
    def headings(self) -> int:
        return sum(token.type == "heading_open" for token in self.tokens)

    def check(self) -> None:
        """Hold that there is no markup but ours, and nothing that GitHub would make a link of."""
        kinds = {token.type.removesuffix("_open").removesuffix("_close") for token in self.tokens}
        assert kinds <= _OURS, kinds - _OURS
        for token in self.tokens:
            assert token.type != "text" or _FOUND.search(token.content) is None, token.content
