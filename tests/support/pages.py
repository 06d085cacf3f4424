# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A page as an HTML parser sees it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Final

_EMPTY: Final = frozenset({"meta", "link", "input", "br"})


@dataclass
class Page(HTMLParser):
    """Elements by name, their attributes, the text outside of scripts and styles, and the page's data."""

    elements: Counter[str] = field(default_factory=Counter)
    attributes: list[tuple[str, str, str]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    data: Any = None
    unclosed: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, text: str) -> Page:
        """Return the page; what is not closed in order is an assertion."""
        page = cls()
        HTMLParser.__init__(page)
        page.feed(text)
        page.close()
        assert not page.unclosed
        return page

    @property
    def text(self) -> str:
        """All text that a reader sees, blanks as one."""
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _EMPTY:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _EMPTY:
            self.unclosed.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self.unclosed[-1] if self.unclosed else ""
        if inside == "script" and data.lstrip().startswith("{"):
            self.data = json.loads(data)
        elif inside not in ("script", "style"):
            self.words.append(data)
