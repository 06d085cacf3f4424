# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What pages take from the code: all of it is there, and text in it is text."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt

from docs.from_code import commands, messages, pages, schemas, words
from docs.from_code.markdown import code, plain, table
from kbtf_ci.commands.main import main
from kbtf_ci.errors import MEANINGS, ExitCode
from kbtf_ci.infra.profiles import profile_keys
from kbtf_ci.infra.schemas import schema_titles
from kbtf_ci.model.fail_on import FINDINGS, FailOn
from kbtf_ci.model.outcome import LOAD_POLICIES, OUTCOMES, LoadPolicy, Outcome
from kbtf_ci.symptoms.causes import CLASSES
from tests.support.pagelinks import anchors

DOCS = Path(__file__).parents[3] / "docs"
HOSTILE = "<b>x</b> [y](z) `c` | *a* _b_ \\ & ~ $\nnext"


def test_every_place_is_in_a_page_and_is_known() -> None:
    used = [name for page in DOCS.rglob("*.md") for name in pages.places(page.read_text())]
    assert set(used) == set(pages.PLACES)


def test_a_place_that_is_not_known_is_refused() -> None:
    with pytest.raises(KeyError, match="nothing"):
        pages.filled("<!-- from the code: nothing -->\n")


@pytest.mark.parametrize("name", pages.PLACES)
def test_a_filled_place_has_more_than_a_head(name: str) -> None:
    assert len(pages.filled(f"<!-- from the code: {name} -->").splitlines()) > 3


def test_every_command_and_its_options_are_told() -> None:
    told = "\n".join(commands.page())
    names = {*main.list_commands(click.Context(main)), "repro run", "repro bundle"}
    assert {f"## kbtf-ci {name}" for name in names} <= set(told.splitlines())
    assert "`-K, --kconfig-add SYMBOL=VALUE`\n: " in told


def test_every_word_has_its_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)
    assert set(FINDINGS) == set(FailOn)
    assert set(OUTCOMES) == set(Outcome)
    assert set(LOAD_POLICIES) == set(LoadPolicy)
    assert [row.split(" | ")[0] for row in words.exit_codes() if row[:3].strip("| ").isdigit()] == [
        f"| {int(one)}" for one in ExitCode
    ]
    assert all(key.meaning and key.type for key in profile_keys())


def test_every_document_has_a_section_and_every_type_that_is_linked_too() -> None:
    page = "\n".join(schemas.page())
    there = anchors(page)
    assert set(schema_titles()) <= there
    linked = set(re.findall(r"\]\(#([^)]+)\)", page))
    assert linked
    assert linked <= there


@pytest.mark.parametrize("title", messages.SAMPLES)
def test_of_every_message_something_is_thought(title: str) -> None:
    found = messages.diagnosed(messages.SAMPLES[title])
    assert found.causes or found.contradictions


def test_the_classic_is_explained_by_its_class() -> None:
    page = "\n".join(messages.messages())
    part = page.partition("### Invalid name\n")[2].partition("###")[0]
    assert "([class 1](#class-1))" in next(line for line in part.splitlines() if line.startswith("- "))
    assert {f"class-{number}" for number in CLASSES} <= anchors("\n".join(messages.classes()))


def test_text_stays_text() -> None:
    html = MarkdownIt("commonmark").enable("table").render
    shown = html(plain(HOSTILE))
    assert shown == "<p>&lt;b&gt;x&lt;/b&gt; [y](z) `c` | *a* _b_ \\ &amp; ~ $ next</p>\n"
    assert html(code("a `b` c")) == "<p><code>a `b` c</code></p>\n"
    cells = re.findall(r"<td>(.*)</td>", html("\n".join(table(("k", "v"), [(code("x|y"), plain(HOSTILE))]))))
    assert cells == ["<code>x|y</code>", shown.strip().removeprefix("<p>").removesuffix("</p>")]


def test_every_command_has_a_line_of_its_own() -> None:
    lines = (DOCS / "reference/commands.md").read_text().splitlines()
    shown = {match[1] for line in lines if (match := re.match(r"\| `kbtf-ci ([a-z-]+)", line))}
    assert shown == set(main.list_commands(click.Context(main)))
