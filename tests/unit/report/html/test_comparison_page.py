# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from kbtf_ci.model.comparison import Comparison, ModuleFacts, RunFacts
from kbtf_ci.report.html.comparison_page import comparison_page
from tests.support.pages import Page

HOSTILE = "<script>alert(1)</script>"


def run(name: str, *modules: ModuleFacts) -> RunFacts:
    return RunFacts(name, "6.12.3", {one.name: one for one in modules}, {"build": 2.0})


def module(name: str, size: int, *functions: str, outcome: str = "VERIFIED") -> ModuleFacts:
    return ModuleFacts(name, outcome, size, frozenset(functions))


def test_all_rows_are_in_the_page_and_the_largest_changes_in_a_plot() -> None:
    before = run("old", *(module(f"m{n}", 10, "f") for n in range(30)), module("gone", 5))
    after = run("new", *(module(f"m{n}", 10 + n, "g") for n in range(30)), module("fresh", 5))
    page = Page.of(comparison_page(Comparison(before, after), []))
    assert "Modules with more or fewer bytes of BTF: 29" in page.text
    assert "m1 10 -> 11 +1" in page.text
    assert "Modules that are there no more: 1 module gone" in page.text
    assert "1 lost: f; 1 gained: g" in page.text
    assert page.elements["svg"] == 2


def test_budgets_that_are_not_kept_come_first() -> None:
    found = Comparison(run("a", module("m", 10)), run("b", module("m", 20)))
    page = Page.of(comparison_page(found, ["BTF has grown by 100.00 %, and the budget is 2 %"]))
    assert page.text.index("Over budget") < page.text.index("Budgets that are not kept BTF has grown")


def test_names_are_text() -> None:
    before = run(HOSTILE, module(HOSTILE, 10, HOSTILE))
    after = run(HOSTILE, module(HOSTILE, 20, "\x1b[31m", outcome="DROPPED"))
    page = Page.of(comparison_page(Comparison(before, after), [HOSTILE]))
    assert page.elements["script"] == 0
    assert HOSTILE in page.text
    assert "\x1b" not in page.text
