# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Axes multiplied out, and what their cells come to beside what was expected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kbtf_ci.errors import ExitCode, UsageError
from kbtf_ci.model.matrix import (
    Budgeted,
    Cell,
    CellOutcome,
    Choice,
    Expectation,
    OptionValue,
    Plan,
    Rule,
    Rules,
    multiply,
    outcome_of,
)
from kbtf_ci.model.matrix_budget import CellBudget
from kbtf_ci.model.matrix_results import CellResult, MatrixResults, Standing, breaches, changed, standing

AXES = {
    "kernel": [Choice("6.12", {"suite": "trixie"}), Choice("7.2", {"suite": "forky", "fragment": ("a",)})],
    "toolchain": [Choice("gcc", {"toolchain": "gcc"}), Choice("clang", {"toolchain": "clang-19"})],
    "pahole": [Choice("old", {"pahole": "bookworm"}), Choice("new", {"pahole": "forky", "btf-server": True})],
}
OLD_ON_NEW = Expectation(
    Rule({"kernel": ("7.2",), "pahole": ("old",)}), CellOutcome.BUILD_FAILED, "too old", "a/b"
)
COMMON: dict[str, OptionValue] = {"config": "smoke", "fragment": ("z",), "variables": ("A=1",), "sha256": ""}
PLAN = multiply(
    "m", "all of it", COMMON, AXES,
    Rules(
        exclude=[Rule({"toolchain": ("clang",), "pahole": ("old",)})], expect=[OLD_ON_NEW],
        budgets=[
            Budgeted(Rule({"pahole": ("new",)}), CellBudget(growth=5)),
            Budgeted(Rule({"kernel": ("6.12",)}), CellBudget(btf_bytes=50, lost_modules=0, seconds=900.5)),
        ],
    ),
)  # fmt: skip
OF_OTHERS = multiply(
    "m", "", {"modules": "/m", "accel": "kvm"}, {"kernel": [Choice("d", {"kernel": ("a.deb", "b.deb")})]}
)


def cell(name: str, plan: Plan = PLAN) -> Cell:
    return next(one for one in plan.cells if one.name == name)


def result(one: Cell, outcome: CellOutcome = CellOutcome.VERIFIED, **values: Any) -> CellResult:
    return CellResult(one.name, one.digest, outcome, **values)


GOOD = {
    one.name: result(one, seconds=9.5, exit_code=0, modules=60, verified=60, btf_bytes=9, compile_s=5.0,
                     link_s=2.0, release="6.12", run="r", kbtf_ci="0", worker="w")
    for one in PLAN.cells
}  # fmt: skip
ALL_GOOD = MatrixResults(PLAN, {**GOOD, "7.2/gcc/old": result(cell("7.2/gcc/old"), CellOutcome.BUILD_FAILED)})
FOUND = MatrixResults(
    PLAN,
    {**GOOD, "6.12/gcc/old": result(cell("6.12/gcc/old"), CellOutcome.NOT_VERIFIED, error="1 of 60")},
    {"6.12/gcc/old": GOOD["6.12/gcc/old"]},
)
REMOVED = MatrixResults(PLAN.named(["6.12/gcc/new"]), FOUND.results)
OPEN = MatrixResults(PLAN, {})
OVER = MatrixResults(PLAN, {**ALL_GOOD.results, "6.12/gcc/new": result(cell("6.12/gcc/new"), btf_bytes=51)})


def test_every_combination_but_the_excluded_ones_is_a_cell_and_those_of_one_build_lie_together() -> None:
    assert [one.name for one in PLAN.cells] == [
        "6.12/gcc/old", "6.12/gcc/new", "6.12/clang/new", "7.2/gcc/old", "7.2/gcc/new", "7.2/clang/new",
    ]  # fmt: skip
    old, new = cell("6.12/gcc/old"), cell("6.12/gcc/new")
    assert old.compiled == new.compiled != cell("6.12/clang/new").compiled
    assert len({one.digest for one in PLAN.cells}) == len({one.folder for one in PLAN.cells}) == 6


def test_a_cell_is_one_command() -> None:
    assert cell("7.2/gcc/new").command == (
        "kbtf-ci run --btf-server --config smoke --fragment z --fragment a --pahole forky --suite forky "
        "--toolchain gcc A=1"
    )
    assert OF_OTHERS.cells[0].words == (
        "verify", "--accel", "kvm", "--kernel", "a.deb", "--kernel", "b.deb", "--modules", "/m",
    )  # fmt: skip


def test_what_is_built_alike_shares_objects_however_it_is_said() -> None:
    said: dict[str, dict[str, OptionValue]] = {
        "own": {}, "gcc": {"toolchain": "gcc"}, "smoke": {"config": "smoke"}, "trixie": {"suite": "trixie"},
    }  # fmt: skip
    for more in (
        {"fentry": {"prove": "fentry"}, "kfunc": {"prove": "kfunc"}, "trace": {"fragment": ("trace",)}},
        {"append": {"append": "quiet"}},
    ):
        said |= more  # type: ignore[arg-type]
    found = {name: Cell({"a": name}, options).compiled for name, options in said.items()}
    assert len({found[name] for name in ("own", "gcc", "smoke", "trixie", "append")}) == 1
    assert len({found[name] for name in ("fentry", "kfunc", "trace")}) == 1
    assert found["own"] != found["trace"]


def test_two_cells_of_one_name_are_refused_though_their_options_differ() -> None:
    axes = {
        "kernel": [Choice("6.12", {"suite": "trixie"}), Choice("6.12/rt", {"suite": "forky"})],
        "config": [Choice("rt/smoke", {"config": "smoke"}), Choice("smoke", {"config": "defconfig"})],
    }
    with pytest.raises(UsageError, match=r"cells 6\.12/rt/smoke and 6\.12/rt/smoke are one by their name"):
        multiply("m", "", {}, axes)


@pytest.mark.parametrize("names", [("grün", "grau"), ("ä", "ö"), ("a b", "a/b"), ("x" * 300, "x" * 301)])
def test_folders_differ_where_names_do(names: tuple[str, str]) -> None:
    choices = [Choice(name, {"append": name}) for name in names]
    folders = {one.folder for one in multiply("m", "", {}, {"a": choices}).cells}
    assert len(folders) == 2
    assert all(len(name) < 200 and name.isascii() and "/" not in name for name in folders)


def test_a_product_that_nobody_waits_for_is_refused_before_it_is_made() -> None:
    axes = {f"a{number}": [Choice(str(one), {}) for one in range(20)] for number in range(12)}
    with pytest.raises(UsageError, match="4,096,000,000,000,000 combinations, and 100,000 are the most"):
        multiply("m", "", {}, axes)


def test_a_flag_that_is_off_is_said() -> None:
    assert Cell({"a": "b"}, {"btf-cache": False}).words == ("run", "--no-btf-cache")


def test_a_result_of_other_options_is_none_of_the_cells() -> None:
    one = cell("6.12/gcc/new")
    found = MatrixResults(PLAN, {**GOOD, one.name: replace(GOOD[one.name], digest="0")})
    assert found.of(one).outcome is CellOutcome.NOT_RUN
    assert found.standings[one.name] is Standing.OPEN


def test_a_program_of_this_machine_shares_no_objects_a_source_and_a_suite_do() -> None:
    paholes = [
        Choice("suite", {"pahole": "forky"}),
        Choice("tree", {"pahole-tree": "/d", "libbpf-tree": "/l"}),
        Choice("program", {"pahole": "/usr/bin/pahole"}),
        Choice("own", {}),
    ]
    suite, tree, program, own = multiply("m", "", {"config": "smoke"}, {"pahole": paholes}).cells
    assert suite.compiled == tree.compiled
    assert len({suite.compiled, program.compiled, own.compiled}) == 3


def test_cells_that_share_objects_come_together_wherever_they_are() -> None:
    axes = {"pahole": AXES["pahole"], "kernel": AXES["kernel"]}
    names = [one.name for one in multiply("m", "", {}, axes).cells]
    assert names == ["old/6.12", "new/6.12", "old/7.2", "new/7.2"]


def test_what_is_excluded_may_come_back_by_name() -> None:
    every = multiply(
        "m", "", COMMON, AXES,
        Rules(
            exclude=[Rule({"kernel": ("6.12", "7.2")})],
            include=[{"kernel": "7.2", "toolchain": "gcc", "pahole": "old"}], expect=[OLD_ON_NEW],
        ),
    )  # fmt: skip
    assert [one.name for one in every.cells] == ["7.2/gcc/old"]
    assert every.cells[0].expected == OLD_ON_NEW


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (Rules(exclude=[Rule({"kernel": ("6.12", "7.2")})]), "the matrix m has no cell"),
        (Rules(include=[{"kernel": "7.2", "toolchain": "gcc", "pahole": "old"}]), "are one by their name"),
    ],
)
def test_no_cell_and_one_cell_twice_are_refused(rules: Rules, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        multiply("m", "", COMMON, AXES, rules)


def test_a_kernel_of_others_is_not_built() -> None:
    axes = {"kernel": [Choice("d", {"kernel": ("a.deb",)})], "pahole": AXES["pahole"]}
    with pytest.raises(UsageError, match="cell d/old: a kernel of others is not built: pahole"):
        multiply("m", "", {}, axes)


def test_a_part_of_the_plan_is_named_by_cells() -> None:
    assert [one.name for one in PLAN.named(["7.2/gcc/old"]).cells] == ["7.2/gcc/old"]
    assert PLAN.named([]).cells == PLAN.cells
    with pytest.raises(UsageError, match=r"--only 7\.3: the matrix m has no such cell"):
        PLAN.named(["7.3"])


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0, "verified"), (1, "not verified"), (2, "refused"), (3, "build failed"), (4, "guest died"),
     (5, "infrastructure"), (130, "not run"), (-9, "infrastructure"), (77, "infrastructure")],
)  # fmt: skip
def test_an_exit_code_is_an_outcome(code: int, outcome: str) -> None:
    assert outcome_of(code) == outcome


@pytest.mark.parametrize(
    ("name", "outcome", "how"),
    [
        ("6.12/gcc/old", CellOutcome.VERIFIED, Standing.GOOD),
        ("6.12/gcc/old", CellOutcome.BUILD_FAILED, Standing.UNEXPECTED),
        ("7.2/gcc/old", CellOutcome.BUILD_FAILED, Standing.EXPECTED),
        ("7.2/gcc/old", CellOutcome.NOT_VERIFIED, Standing.UNEXPECTED),
        ("7.2/gcc/old", CellOutcome.VERIFIED, Standing.VERIFIED_UNEXPECTEDLY),
        ("7.2/gcc/old", CellOutcome.INFRASTRUCTURE, Standing.OPEN),
        ("6.12/gcc/old", CellOutcome.NOT_RUN, Standing.OPEN),
    ],
)
def test_an_outcome_stands_beside_what_was_expected(name: str, outcome: CellOutcome, how: Standing) -> None:
    one = cell(name)
    assert standing(one, result(one, outcome)) is how


def test_the_exit_code_is_that_of_the_worst_and_what_nobody_expected_comes_first() -> None:
    assert ALL_GOOD.exit_code is ExitCode.VERIFIED
    assert FOUND.exit_code is ExitCode.NOT_VERIFIED
    assert OPEN.exit_code is ExitCode.INFRASTRUCTURE
    assert [one.name for one in FOUND.ordered][:2] == ["6.12/gcc/old", "7.2/gcc/old"]


def test_what_changed_since_the_time_before_is_told() -> None:
    one = GOOD["6.12/gcc/new"]
    assert changed(None, one) == changed(one, one) == ""
    assert changed(one, replace(one, outcome=CellOutcome.GUEST_DIED)) == "verified before"
    assert changed(one, replace(one, verified=59, btf_bytes=12)) == "60 of 60 before, +3 bytes of BTF"
    assert changed(one, replace(one, outcome=CellOutcome.INFRASTRUCTURE)) == ""


@pytest.mark.parametrize(
    ("name", "now", "before", "lines"),
    [
        ("6.12/gcc/old", {"btf_bytes": 50, "modules": 60, "seconds": 900.0}, None, []),
        ("6.12/gcc/old", {"btf_bytes": 51}, None, ["51 bytes of BTF, and the budget is 50"]),
        ("7.2/gcc/new", {"btf_bytes": 100, "seconds": 9999.0}, None, []),
        ("6.12/gcc/old", {"seconds": 901.0}, None, ["901 s, and the budget is 900.5"]),
        (
            "7.2/gcc/new", {"btf_bytes": 43}, {"btf_bytes": 40},
            ["BTF has grown by 7.50 %, and the budget is 5 %"],
        ),
        ("7.2/gcc/new", {"btf_bytes": 42, "modules": 1}, {"btf_bytes": 40, "modules": 9}, []),
        ("6.12/gcc/old", {"modules": 59}, {"modules": 60}, ["1 modules fewer, and the budget is 0"]),
    ],
)  # fmt: skip
def test_a_verified_cell_that_takes_more_than_it_may_counts(
    name: str, now: dict[str, Any], before: dict[str, Any] | None, lines: list[str]
) -> None:
    one = cell(name)
    earlier = None if before is None else replace(result(one), **before)
    assert list(breaches(one, result(one, **now), earlier)) == lines
    assert standing(one, result(one, **now), earlier) is (Standing.OVER_BUDGET if lines else Standing.GOOD)
    assert standing(one, result(one, CellOutcome.NOT_VERIFIED, **now), earlier) is Standing.UNEXPECTED
    baseline = {name: earlier} if earlier else {}
    found = MatrixResults(PLAN, {**GOOD, name: result(one, **now)}, baseline=baseline)
    assert found.exit_code is ExitCode.NOT_VERIFIED  # 7.2/gcc/old is verified unexpectedly
    good = MatrixResults(PLAN.named([name]), found.results, baseline=baseline)
    assert good.exit_code is (ExitCode.NOT_VERIFIED if lines else ExitCode.VERIFIED)
