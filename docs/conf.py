# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The documentation's build, for Sphinx ("make docs"): markdown pages, and what they take from the code."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from docs.from_code.pages import filled
from kbtf_ci import __version__

project = "kbtf-ci"
author = "The kbtf-ci authors"
project_copyright = author
release = version = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["from_code", "pictures"]
# Anchors are made of headings as GitHub makes them, so that a link leads to the same place on both.
myst_heading_anchors = 3
myst_enable_extensions = ["deflist", "attrs_inline"]
nitpicky = True
# "--fail-on" has two dashes, and not a long one.
smartquotes = False

html_theme = "furo"
html_title = f"kbtf-ci {release}"
html_show_sourcelink = False
html_copy_source = False


def _take(_app: Sphinx, page: str, content: list[str]) -> None:
    """Fill a page's places. Of links that lead out of docs/, to what is not on the site, the words remain."""
    way_out = re.escape("../" * (page.count("/") + 1))
    content[0] = re.sub(rf"\[([^\]]+)\]\({way_out}[^)]*\)", r"\1", filled(content[0]))


def setup(app: Sphinx) -> None:
    """Fill a page's places with what the code says, when the page is read."""
    app.connect("source-read", _take)
