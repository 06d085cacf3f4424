# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Two runs beside each other: what changed, and which budgets are not kept."""

from __future__ import annotations

import pytest

from kbtf_ci.model.comparison import Budgets, Comparison, ModuleFacts, RunFacts


def module(name: str, size: int, *functions: str, outcome: str = "VERIFIED") -> ModuleFacts:
    return ModuleFacts(name, outcome, size, frozenset(functions))


def run(*modules: ModuleFacts) -> RunFacts:
    return RunFacts("run", "6.12", {one.name: one for one in modules})


BEFORE = run(
    module("same", 100, "f"),
    module("grown", 100, "a", "b", "c"),
    module("shrunk", 300, "x"),
    module("gone", 500, "y", "z"),
    module("broken", 0),
    module("mended", 0, outcome="REJECTED"),
)
AFTER = run(
    module("same", 100, "f"),
    module("grown", 150, "a", "d"),
    module("shrunk", 200, "x"),
    module("new", 590, "n"),
    module("broken", 0, outcome="REJECTED"),
    module("mended", 0),
)
FOUND = Comparison(BEFORE, AFTER)


def test_what_is_gained_lost_and_changed_is_told_module_by_module() -> None:
    assert [one.name for one in FOUND.gained] == ["new"]
    assert [one.name for one in FOUND.lost] == ["gone"]
    assert [one.name for one in FOUND.outcomes] == ["broken", "mended"]  # what broke comes first
    assert [(one.name, one.bytes_more) for one in FOUND.resized] == [("shrunk", -100), ("grown", 50)]
    (grown,) = FOUND.functions
    assert (grown.name, grown.lost, grown.gained) == ("grown", ("b", "c"), ("d",))
    assert FOUND.lost_functions == 4  # those of the lost module among them
    assert (FOUND.bytes_more, FOUND.growth) == (40, 4.0)


def test_a_run_that_kept_no_functions_says_nothing_of_them() -> None:
    bare = RunFacts("run", "6.12", {"m": ModuleFacts("m", "VERIFIED", 7)})
    found = Comparison(bare, run(module("m", 7, "f")))
    assert not found.has_functions
    assert (found.functions, found.lost_functions) == ((), 0)
    assert Comparison(run(), run()).growth == 0


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        (Budgets(), []),
        (Budgets(1040, 4.0, 4, 1), []),
        (Budgets(btf_bytes=1039), ["1,040 bytes of BTF, and the budget is 1,039"]),
        (Budgets(growth=3.9), ["BTF has grown by 4.00 %, and the budget is 3.9 %"]),
        (
            Budgets(lost_functions=3),
            ["4 functions are described no more, and the budget is 3: grown:b, grown:c, gone:y, gone:z"],
        ),
        (Budgets(lost_modules=0), ["1 modules are gone, and the budget is 0: gone"]),
    ],
)
def test_a_budget_that_is_not_kept_is_a_line(budgets: Budgets, words: list[str]) -> None:
    assert list(budgets.breaches(FOUND)) == words
