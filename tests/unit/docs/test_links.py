# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every link of the documentation that stays in the repository leads to a file, and to a heading of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from docs.from_code.pages import filled
from tests.support.pagelinks import anchors, links

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])


def dead(page: Path, text: str) -> list[str]:
    """Return the links of a page that lead nowhere."""
    return [target for target in links(text) if not leads_somewhere(page, target)]


def leads_somewhere(page: Path, target: str) -> bool:
    if "://" in target:
        return True
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return False
    return not anchor or (file.suffix == ".md" and anchor in headings(file))


@cache
def headings(page: Path) -> set[str]:
    return anchors(filled(page.read_text()))


def test_the_pages_are_found() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md"} < names
    assert {"docs/architecture.md", "docs/tutorial.md", "docs/reference/commands.md"} < names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_leads_nowhere(page: Path) -> None:
    assert dead(page, filled(page.read_text())) == []


def test_a_dead_link_is_seen() -> None:
    page = ROOT / "docs" / "x.md"
    text = (
        "[a](nowhere.md) [b](#nowhere) [c](architecture.md#nowhere) ![d](pictures/nowhere.png) [e](../../x)\n"
    )
    assert dead(page, text) == [
        "nowhere.md", "#nowhere", "architecture.md#nowhere", "pictures/nowhere.png", "../../x",
    ]  # fmt: skip
    assert (
        dead(page, "[a](architecture.md#1-words) [b](pictures/report.png) [c](https://example.org)\n") == []
    )


def test_every_page_is_in_the_tree_of_the_site() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    names = [page.relative_to(ROOT / "docs").with_suffix("") for page in (ROOT / "docs").rglob("*.md")]
    assert [str(name) for name in names if str(name) != "index" and f"\n{name}\n" not in index] == []
