# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci report --compare``: what two run directories kept, put beside each other, and bad input."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.report import report
from kbtf_ci.errors import UsageError
from kbtf_ci.workflow.report import compare
from tests.support.markdown import Page
from tests.support.pages import Page as HtmlPage
from tests.support.schemas import valid

NASTY = "<script>alert(1)</script>|\x1b[2J"


def kept(
    folder: Path, modules: dict[str, tuple[int, list[str]]], stages: dict[str, float] | None = None
) -> Path:
    """Make a folder hold what a run does."""
    (folder / "kernel").mkdir(parents=True)
    entries = [
        {"name": name, "file": f"kernel/{name}.ko", "outcome": "VERIFIED", "btf_bytes": size}
        for name, (size, _) in modules.items()
    ]
    values: dict[str, Any] = {
        "schema": "kbtf-ci/results/1",
        "kernel": {"release": "6.12.3"},
        "modules": entries,
    }
    (folder / "results.json").write_text(json.dumps(values))
    names = {f"kernel/{name}.ko": functions for name, (_, functions) in modules.items()}
    functions = {"schema": "kbtf-ci/functions/1", "modules": names}
    (folder / "kernel/functions.json.gz").write_bytes(gzip.compress(json.dumps(functions).encode()))
    (folder / "run.json").write_text(json.dumps({"stages": stages or {}}))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    before = kept(tmp_path / "before", {"xfs": (100, ["a", "b"]), NASTY: (5, [])}, {"build": 60.0})
    return before, kept(
        tmp_path / "after", {"xfs": (150, ["a"]), "new": (1, [])}, {"build": 30.0, "guest": 2.0}
    )


def called(*words: object) -> Result:
    return CliRunner().invoke(report, [str(word) for word in words])


def test_two_runs_are_compared_from_what_they_kept(runs: tuple[Path, Path]) -> None:
    before, after = runs
    done = called(after, "--compare", before)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert "2 modules -> 2; 105 bytes of BTF -> 151 (+46, +43.81 %)" in lines
    assert "    xfs  1 lost: b" in lines
    assert "    xfs  100 -> 150  +50" in lines
    assert "    build  60.0 -> 30.0" in lines
    assert "    guest  none -> 2.0" in lines
    assert "\x1b" not in done.output


def test_the_document_has_all_that_changed(runs: tuple[Path, Path]) -> None:
    before, after = runs
    found = json.loads(called(after, "--compare", before / "results.json", "--json").output)
    valid("comparison", found)
    assert (found["gained"], found["lost"]) == (["new"], [NASTY])
    assert found["functions"] == [{"module": "xfs", "lost": ["b"], "gained": []}]
    assert found["sizes"] == [{"module": "xfs", "before": 100, "after": 150}]
    assert (found["bytes_more"], found["lost_functions"], found["over_budget"]) == (46, 1, [])
    assert found["stages"][1] == {"stage": "guest", "before": None, "after": 2.0}


def test_a_budget_that_is_not_kept_fails_and_says_why(runs: tuple[Path, Path]) -> None:
    before, after = runs
    for words, said in (
        (("--max-growth", "2%"), "BTF has grown by 43.81 %, and the budget is 2 %"),
        (("--max-lost-functions", "0"), "1 functions are described no more, and the budget is 0: xfs:b"),
        (("--max-btf-bytes", "150"), "151 bytes of BTF"),
        (("--max-lost-modules", "0"), "1 modules are gone"),
    ):
        for style in ((), ("--markdown",), ("--json",)):
            done = called(after, "--baseline", before, *words, *style)
            assert done.exit_code == 1
            assert said in done.output
    assert called(after, "--baseline", before, "--max-growth", "50").exit_code == 0


def test_a_name_is_no_markup(runs: tuple[Path, Path]) -> None:
    before, after = runs
    page = called(after, "--compare", before, "--markdown").output
    Page.of(page).check()
    assert "<script>alert(1)</script>\\x7c\\x1b[2J" in Page.of(page).text


@pytest.mark.parametrize("word", ["x", "-1", "nan", "%"])
def test_a_percentage_that_is_none_is_refused(runs: tuple[Path, Path], word: str) -> None:
    before, after = runs
    assert called(after, "--compare", before, "--max-growth", word).exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[]", "not the results of a run"),
        ('{"schema": "kbtf-ci/results/1", "kernel": {"release": "r"}, "modules": [0]}', "modules.0"),
        ('{"schema": "other/1", "kernel": {"release": "r"}, "modules": []}', "'other/1'"),
    ],
)
def test_what_holds_no_results_is_named(tmp_path: Path, text: str, words: str) -> None:
    good = kept(tmp_path / "good", {})
    bad = kept(tmp_path / "bad", {}) / "results.json"
    bad.write_text(text)
    with pytest.raises(UsageError, match=r"bad/results\.json") as told:
        compare(good, bad)
    assert words in told.value.message


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    good = kept(tmp_path / "good", {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty/results\.json"):
        compare(good, tmp_path / "empty")


def test_functions_that_were_not_kept_or_cannot_be_read_are_told(runs: tuple[Path, Path]) -> None:
    before, after = runs
    file = before / "kernel/functions.json.gz"
    file.write_bytes(b"no gzip")
    with pytest.raises(UsageError, match=r"functions\.json\.gz: cannot be read"):
        compare(after, before)
    file.unlink()
    done = called(after, "--compare", before)
    assert "functions: not compared, for one run has not kept their names" in done.output
    assert called(after, "--compare", before, "--max-lost-functions", "0").exit_code == 2


def test_functions_are_kept_by_names_of_compressed_files(runs: tuple[Path, Path]) -> None:
    before, after = runs
    file = before / "kernel/functions.json.gz"
    packed = gzip.decompress(file.read_bytes()).replace(b".ko", b".ko.xz")
    file.write_bytes(gzip.compress(packed))
    found = compare(after, before)
    assert [(one.name, one.lost) for one in found.functions] == [("xfs", ("b",))]


def finished(folder: Path, findings: list[Any] | None) -> Path:
    """Make a folder hold a run whose results keep what reports are made of, unless ``findings`` is None."""
    kept(folder, {"xfs": (100, [])})
    values = json.loads((folder / "results.json").read_text())
    more = {} if findings is None else {"findings": findings}
    (folder / "results.json").write_text(json.dumps({**values, **more}))
    (folder / "run.json").write_text(json.dumps({"schema": "kbtf-ci/run/1", "stages": {"build": 7.0}}))
    return folder


def test_the_reports_of_a_run_are_written_again(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", [])
    done = called(folder)
    assert (done.exit_code, done.output) == (0, f"report: {folder}/report.html\n")
    assert "build 7.0 s" in HtmlPage.of((folder / "report.html").read_text()).text
    for name in ("summary.md", "junit.xml", "results.ktap"):
        assert "xfs" in (folder / name).read_text() or name == "summary.md"


def test_results_alone_make_a_report(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", [])
    (folder / "run.json").unlink()
    assert called(folder).exit_code == 0


def test_results_of_an_earlier_version_are_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", None)
    done = called(folder)
    assert done.exit_code == 2
    assert f"which did not keep what reports need\n  kbtf-ci verify {folder}\n" in done.output
    assert not (folder / "report.html").exists()


def test_a_run_is_told_to_kernelci(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", [])
    document = json.loads(called(folder, "--kcidb", "my_ci").output)
    assert [(one["path"], one["status"]) for one in document["tests"]] == [("kbtf.xfs", "PASS")]
    assert called(folder, "--kcidb", "My CI").exit_code == 2
    assert called(folder, "--compare", folder, "--kcidb", "my_ci").exit_code == 2


def test_a_comparison_is_a_page_too(runs: tuple[Path, Path], tmp_path: Path) -> None:
    before, after = runs
    page = tmp_path / "page.html"
    done = called(after, "--compare", before, "--html", page, "--max-growth", "1%")
    assert done.exit_code == 1
    text = HtmlPage.of(page.read_text()).text
    assert "Over budget" in text
    assert "xfs 100 -> 150 +50" in text


def test_a_budget_that_is_not_kept_annotates_a_job(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = runs
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    done = called(after, "--compare", before, "--max-growth", "1%")
    assert "::error title=Over budget::BTF has grown by 43.81 %25" in done.output
    assert "# Module BTF" in (tmp_path / "summary").read_text()


@pytest.mark.parametrize("words", [["--json"], ["--markdown"], ["--html", "x"], ["--max-growth", "2%"]])
def test_what_is_of_a_comparison_wants_another_run(tmp_path: Path, words: list[str]) -> None:
    done = called(finished(tmp_path / "run", []), *words)
    assert done.exit_code == 2
    assert "name the other run: --baseline" in done.output
