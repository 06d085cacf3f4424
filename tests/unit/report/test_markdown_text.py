# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Hostile text in markdown: it comes out as it went in, and nothing but text does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kbtf_ci.infra.text import printable
from kbtf_ci.model.comparison import Comparison, ModuleFacts, RunFacts
from kbtf_ci.report import comparison
from kbtf_ci.report.markdown import fitting
from kbtf_ci.report.markdown_text import LONGEST, text
from tests.support.markdown import Page
from tests.support.shapes import NASTY


@pytest.mark.parametrize(
    "place", ["{}", "# {}", "x {}, {}", "**Over:** {}", "| a | b |\n| --- | --- |\n| {} | x |"]
)
@pytest.mark.parametrize("value", [one for one in NASTY if one.strip()])
def test_a_text_is_shown_as_it_is_wherever_it_stands(value: str, place: str) -> None:
    page = Page.of(place.replace("{}", text(value)) + "\n")
    page.check()
    assert printable(value)[:LONGEST].replace("|", r"\x7c").strip() in page.text
    assert page.headings == place.startswith("#")


@pytest.mark.parametrize(
    "value", ["snd_hda_intel", "Not loaded: ENODEV (-19)", "6.12.3", "a -> b", "+1,046", "-3"]
)
def test_plain_words_stay_plain(value: str) -> None:
    assert text(value) == value


def test_a_comparison_of_hostile_runs_has_no_markup_but_ours() -> None:
    def run(name: str, **more: Any) -> RunFacts:
        facts = RunFacts(name, name, {}, dict.fromkeys(NASTY, 1.0))
        return replace(facts, **more)

    one, other = frozenset(NASTY), frozenset(("x",))
    for start in range(0, len(NASTY), 20):
        part = NASTY[start : start + 20]
        before = {name: ModuleFacts(name, "VERIFIED", 10, one) for name in part}
        after = {name: ModuleFacts(name, name, 20, other) for name in part}
        for found in (
            Comparison(run(part[0], modules=before), run(part[1], modules=after)),
            Comparison(run(part[2], modules=before), run(part[3], modules={})),
        ):
            Page.of(comparison.markdown(found, part)).check()


@pytest.mark.parametrize("room", [-5, 0, 1, 40, 60, 100, 150, 10_000])
def test_a_document_is_cut_behind_a_line_or_left_out(room: int) -> None:
    document = "".join(f"ä line {number}\n" for number in range(20))
    kept = fitting(document, room)
    assert len(kept.encode()) <= max(room, 0)
    if room >= 10_000:
        assert kept == document
    elif kept:
        *lines, last = kept.strip().splitlines()
        assert last == "and more, in summary.md of the run directory"
        assert document.startswith("\n".join(lines).strip() + "\n")
