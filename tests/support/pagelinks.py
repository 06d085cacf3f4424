# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Links and headings of a markdown page, as GitHub and the site make them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

_MARKDOWN = MarkdownIt("commonmark").enable("table")


def links(page: str) -> Iterator[str]:
    """Yield where each link and picture of a page leads."""
    for token in _inline(page):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if target:
                yield str(target)


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings; of several alike the later ones are numbered."""
    tokens = _MARKDOWN.parse(page)
    found: dict[str, int] = {}
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or ())
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            found[slug] = found.get(slug, -1) + 1
    return {
        f"{slug}-{number}" if number else slug for slug, last in found.items() for number in range(last + 1)
    }


def _inline(page: str) -> Iterator[Token]:
    return (token for token in _MARKDOWN.parse(page) if token.type == "inline")
