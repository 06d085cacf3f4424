# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Pages in a real browser: what it loads and runs, what a checker of accessibility finds, how quick it is."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode, ModuleResult, Observation, judge
from kbtf_ci.model.results import Results
from kbtf_ci.report.html.run_page import run_page
from kbtf_ci.report.results import GuestFacts, document
from tests.e2e.conftest import Cli
from tests.support.browse import browse

pytestmark = [pytest.mark.engine, pytest.mark.full]

MODULES = 4230  # Debian's 6.12 for amd64
HOSTILE = "<script>alert(1)</script>"


def judged(number: int, chance: random.Random) -> ModuleResult:
    name = HOSTILE if number == 5 else f"mod_{number:04}"
    module = Module(name, f"kernel/drivers/x{number % 40}/{name}.ko", chance.randrange(64, 60_000), "aa")
    if number % 11 == 5:
        words = (f"BPF: [{number}] Invalid name", "\x1b[31m<b onclick=alert(2)>")
        log = (*words, f"failed to validate module [{name}] BTF: -22")
        return judge(module, [Observation(name, LoadMode.CARRIER, 22, log=log)])
    seen = Observation(
        name, LoadMode.CARRIER, 0, module.btf_bytes, "aa", load_us=chance.randrange(90, 90_000)
    )
    return judge(module, [seen])


@pytest.fixture(scope="module")
def many(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a browser saw of a distribution's modules, one with a hostile name."""
    folder = tmp_path_factory.mktemp("many")
    chance = random.Random(1)
    results = [judged(number, chance) for number in range(MODULES)]
    values = document(KernelFacts("6.12.3", "c0", "130", "gcc 14"), GuestFacts("tcg", 3.5, 9.0), results)
    (folder / "report.html").write_text(run_page(Results.of(values), None, None, "runs/latest"))
    return browse(engine, folder / "report.html", folder / "seen")


def test_nothing_is_loaded_and_nothing_hostile_runs(many: dict[str, Any]) -> None:
    assert {request.rpartition("/")[2] for request in many["requests"]} == {"page.html"}
    assert many["console"] == many["errors"] == many["dialogs"] == []
    for view in many["views"].values():
        assert (view["title"], view["scripts"]) == ("Module BTF of 6.12.3", 2)


def test_an_accessibility_checker_finds_nothing(many: dict[str, Any]) -> None:
    assert [view["violations"] for view in many["views"].values()] == [[]] * 4


def test_it_fits_a_phone(many: dict[str, Any]) -> None:
    assert [view["overflow"] for view in many["views"].values()] == [0] * 4


def test_thousands_of_rows_are_sorted_and_searched(many: dict[str, Any]) -> None:
    table = many["table"]
    assert len(table["first"]) == 100
    assert table["searches"]["script"]["count"] == f"1 of {MODULES:,} modules"
    assert table["searches"]["nothing has this name"]["count"] == f"0 of {MODULES:,} modules"
    chance = random.Random(1)
    sizes = {one.module.name: one.module.btf_bytes for one in (judged(n, chance) for n in range(MODULES))}
    assert [sizes[name] for name in table["largest"]] == sorted(sizes.values(), reverse=True)[:3]
    timed = {**table["times"], **table["searches"]}
    assert all(one["drawn"] < 5000 for one in timed.values())  # ms; some tens where nothing else runs


def test_it_is_worked_by_keyboard(many: dict[str, Any]) -> None:
    seen = many["keyboard"]
    assert (seen["skip"], seen["sorted"], seen["expanded"]) == ("skip", "descending", "true")
    assert seen["count"] == f"1 of {MODULES:,} modules"
    assert f"{seen['name']}.ko" in seen["details"]


def test_the_pages_of_a_real_run_and_of_a_comparison(
    cli: Cli, engine: Engine, smoke_run: Path, tmp_path: Path
) -> None:
    compared = cli("report", smoke_run, "--compare", smoke_run, "--html", tmp_path / "comparison.html")
    assert compared.returncode == 0, compared.stderr
    for page in (smoke_run / "report.html", tmp_path / "comparison.html"):
        seen = browse(engine, page, tmp_path / page.stem)
        assert seen["errors"] == seen["console"] == []
        assert [view["violations"] for view in seen["views"].values()] == [[]] * 4
        assert [view["overflow"] for view in seen["views"].values()] == [0] * 4
