# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Bisections of a tiny real history, whose commits say themselves what they are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kbtf_ci.errors import ExitCode, InfrastructureError, InterruptError, KbtfError, UsageError
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.model.bisect import Judgement, Mark
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.bisect import Bisected, BisectOptions, bisect
from kbtf_ci.workflow.guests import GuestOptions
from tests.support.history import Repository
from tests.support.schemas import valid

WORDS = ["good", "good", "good", "good", "skip", "good", "bad", "bad", "bad"]
CULPRIT = 6


@dataclass
class Words:
    """Reads what a commit is from its file ``word``; ``fails`` is raised at the try of that number."""

    fails: dict[int, KbtfError] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)

    def __call__(self, tree: Path, folder: Path) -> Judgement:
        if error := self.fails.pop(len(self.tried), None):
            folder.mkdir()
            raise error
        word = (tree / "word").read_text()
        self.tried.append((tree / "number").read_text())
        (folder / "kernel").mkdir(parents=True)
        outcome = "REJECTED" if word == "bad" else "VERIFIED"
        entry = {"name": "xfs", "outcome": outcome, "kernel_log": [f"BPF: {word} at {self.tried[-1]}"]}
        (folder / "results.json").write_text(json.dumps({"modules": [entry]}))
        return Judgement(Mark(word), f"xfs {outcome}", "xfs" if word == "bad" else "")


class Reporter(TerminalReporter):
    """Remembers warnings."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def history(path: Path, words: list[str]) -> Repository:
    repository = Repository.make(path)
    for number, word in enumerate(words):
        repository.commit(f"change {number}", {"word": word, "number": str(number)})
        repository.git("tag", f"c{number}")
    return repository


@pytest.fixture
def tree(tmp_path: Path) -> Repository:
    return history(tmp_path / "tree", WORDS)


def options(tree: Repository, good: str = "c0", bad: str = "main") -> BisectOptions:
    build = BuildOptions("smoke", 1, directory=str(tree.path))
    return BisectOptions(good, bad, build, GuestOptions(Accel.AUTO), command="kbtf-ci bisect")


def find(
    asked: BisectOptions, tester: Callable[[Path, Path], Judgement], output: Path | None = None
) -> Bisected:
    return bisect(asked, output, Reporter(), tester)


def test_the_first_bad_commit_is_named_with_what_was_said_before_and_after(tree: Repository) -> None:
    tester = Words()
    done = find(options(tree), tester)
    assert done.exit_code is ExitCode.VERIFIED
    assert done.found.first_bad is not None
    assert done.found.first_bad.sha == tree.git("rev-parse", f"c{CULPRIT}")
    values = done.document()
    assert values["first_bad"] == {
        "commit": done.found.first_bad.sha,
        "subject": "change 6",
        "author": "Ada Author <ada@example.org>",
        "date": "2026-03-01T10:07:00+00:00",
    }
    assert done.before is not None
    assert done.after is not None
    assert (done.before.log, done.after.log) == (("BPF: good at 5",), ("BPF: bad at 6",))
    valid("bisect", values)
    assert done.module == "xfs"
    assert tester.tried[:2] == ["0", "8"]
    assert len(tester.tried) == len(set(tester.tried)) < len(WORDS)


def test_the_users_tree_is_not_written_to(tree: Repository) -> None:
    (tree.path / "word").write_text("changed, and not committed")
    before = tree.state()
    reporter = Reporter()
    bisect(options(tree), None, reporter, Words())
    assert tree.state() == before
    assert reporter.warnings == [f"{tree.path}: its uncommitted changes (files: 1) are left out"]


def test_the_results_are_kept_and_only_two_kernels(tree: Repository, tmp_path: Path) -> None:
    done = find(options(tree), Words(), tmp_path / "out")
    assert json.loads((tmp_path / "out/bisect.json").read_text()) == json.loads(json.dumps(done.document()))
    assert "# first bad commit: " in (tmp_path / "out/git-bisect.log").read_text()
    kernels = [path.parent.name for path in (tmp_path / "out/steps").glob("*/kernel")]
    wanted = {tree.git("rev-parse", f"c{number}")[:12] for number in (CULPRIT - 1, CULPRIT)}
    assert {name.partition("-")[2] for name in kernels} == wanted
    text = "\n".join(done.text())
    assert re.search(r"^ *1 [0-9a-f]{12} good +[0-9.]+ s  xfs VERIFIED$", text, re.MULTILINE)
    assert "first bad commit of kernel: " in text
    assert done.after is not None
    assert (Path(done.after.folder) / "kernel").is_dir()


def test_an_interrupted_bisect_goes_on_where_it_was(tree: Repository, tmp_path: Path) -> None:
    whole = Words()
    find(options(tree), whole, tmp_path / "whole")
    first, second = Words({3: InterruptError("interrupted by SIGINT")}), Words()
    with pytest.raises(InterruptError) as caught:
        find(options(tree), first, tmp_path / "halves")
    assert caught.value.hint == "3 commits tried are kept: the same command goes on from there"
    done = find(options(tree), second, tmp_path / "halves")
    assert first.tried + second.tried == whole.tried
    assert done.found.first_bad is not None
    assert [step.commit.sha for step in done.standing.steps] == [
        tree.git("rev-parse", f"c{number}") for number in whole.tried
    ]


def test_the_machines_fault_ends_a_bisect_and_speaks_against_no_commit(tree: Repository) -> None:
    with pytest.raises(InfrastructureError, match="disk"):
        find(options(tree), Words({2: InfrastructureError("the disk is full")}))
    assert find(options(tree), Words()).exit_code is ExitCode.VERIFIED


def test_a_finished_bisect_begins_anew(tree: Repository) -> None:
    find(options(tree), Words())
    again = Words()
    find(options(tree), again)
    assert again.tried[:2] == ["0", "8"]


def test_a_bisect_of_other_ends_is_set_aside(tree: Repository, cache: Path) -> None:
    with pytest.raises(InterruptError):
        find(options(tree), Words({2: InterruptError("interrupted")}))
    reporter, tester = Reporter(), Words()
    done = bisect(options(tree, good="c2"), None, reporter, tester)
    assert done.found.first_bad is not None
    assert tester.tried[:2] == ["2", "8"]
    assert "is set aside as" in reporter.warnings[0]
    assert len(list(cache.glob("bisect/*/left-over-*.json"))) == 1


def test_another_module_is_another_bisect(tree: Repository) -> None:
    with pytest.raises(InterruptError):
        find(options(tree), Words({2: InterruptError("interrupted")}))
    tester = Words()
    find(replace(options(tree), module="xfs"), tester)
    assert tester.tried[:2] == ["0", "8"]


def test_what_cannot_be_tried_may_hide_the_first_bad_commit(tmp_path: Path) -> None:
    tree = history(tmp_path / "hidden", ["good", "good", "skip", "skip", "bad", "bad"])
    done = find(options(tree), Words())
    assert (done.exit_code, done.found.first_bad) == (ExitCode.NOT_VERIFIED, None)
    assert {one.subject for one in done.found.possible} == {"change 2", "change 3", "change 4"}
    assert "cannot tell" in "\n".join(done.text())


def test_ends_next_to_each_other_need_no_third_try(tmp_path: Path) -> None:
    tree = history(tmp_path / "short", ["good", "bad"])
    tester = Words()
    done = find(options(tree), tester)
    assert (tester.tried, done.found.first_bad and done.found.first_bad.subject) == (["0", "1"], "change 1")


def test_a_good_commit_on_another_branch_brings_its_merge_base_first(tree: Repository) -> None:
    tree.git("checkout", "--quiet", "-b", "side", "c2")
    tree.commit("side", {"word": "good", "number": "side"})
    tester = Words()
    done = find(options(tree, good="side"), tester)
    assert tester.tried[:3] == ["side", "8", "2"]
    assert done.found.first_bad is not None
    assert done.found.first_bad.subject == "change 6"


def test_a_bad_merge_base_is_no_matter_for_a_bisect(tmp_path: Path) -> None:
    tree = history(tmp_path / "mended", ["bad", "bad", "bad"])
    tree.git("checkout", "--quiet", "-b", "side", "c1")
    tree.commit("mend", {"word": "good", "number": "side"})
    with pytest.raises(UsageError, match="which good and bad have in common, is bad already"):
        find(options(tree, good="side"), Words())


BACKWARDS = ["bad", "bad", "good", "good"]


@pytest.mark.parametrize(
    ("words", "good", "bad", "message"),
    [
        (WORDS, "main", "c0", r"good and bad are swapped: bad \w{12} \(change 0\) is an ancestor of good"),
        (BACKWARDS, "c0", "main", r"good and bad are swapped: at \w{12} xfs REJECTED, at \w{12} xfs V"),
        (WORDS, "c7", "main", r"--good \w{12} \(change 7\) is bad: xfs REJECTED"),
        (WORDS, "c0", "c2", r"--bad \w{12} \(change 2\) is good: xfs VERIFIED"),
        (WORDS, "c4", "main", r"--good \w{12} \(change 4\) cannot be tried: xfs VERIFIED"),
        (WORDS, "c1", "c1", r"--good and --bad are the same commit"),
        (WORDS, "nonsense", "main", r"--good nonsense: no such commit in "),
        (WORDS, "c0", "--help", r"--bad --help: no such commit in "),
        (WORDS, "", "main", r"--good : no such commit in "),
        (WORDS, "c0:word", "main", r"--good c0:word: no such commit in "),
    ],
)
def test_ends_that_are_none(tmp_path: Path, words: list[str], good: str, bad: str, message: str) -> None:
    tree = history(tmp_path / "ends", words)
    with pytest.raises(UsageError, match=message):
        find(options(tree, good, bad), Words())


def test_histories_with_nothing_in_common(tree: Repository) -> None:
    tree.git("checkout", "--quiet", "--orphan", "other")
    tree.commit("other", {"word": "good", "number": "other"})
    with pytest.raises(UsageError, match="have no common history"):
        find(options(tree, good="other"), Words())


def test_a_shallow_clone(tree: Repository, tmp_path: Path) -> None:
    subprocess.run(
        ["git", "clone", "--quiet", "--depth=2", tree.path.as_uri(), str(tmp_path / "shallow")], check=True
    )
    with pytest.raises(UsageError, match="a shallow clone") as caught:
        find(options(Repository(tmp_path / "shallow")), Words())
    assert "fetch --unshallow" in caught.value.hint


def test_what_is_no_git_tree(tree: Repository, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(UsageError, match=r"-C .*plain: not a git tree"):
        find(options(Repository(tmp_path / "plain")), Words())
    with pytest.raises(UsageError, match=r"-C .*absent: not a git tree"):
        find(options(Repository(tmp_path / "absent")), Words())
    (tree.path / "below").mkdir()
    with pytest.raises(UsageError, match="a folder inside of a git tree"):
        find(options(Repository(tree.path / "below")), Words())


def test_a_bisect_without_a_tree(tree: Repository) -> None:
    with pytest.raises(UsageError, match="bisect wants a git tree"):
        find(replace(options(tree), build=BuildOptions("smoke", 1)), Words())


def test_commits_made_since_the_clone_was_are_found(tree: Repository) -> None:
    find(options(tree), Words())
    tree.commit("change 9", {"word": "bad", "number": "9"})
    tester = Words()
    done = find(options(tree), tester)
    assert tester.tried[:2] == ["0", "9"]
    assert done.found.first_bad is not None
    assert done.found.first_bad.subject == "change 6"


def test_another_tree_at_the_same_path_is_cloned_anew(tree: Repository) -> None:
    find(options(tree), Words())
    tree.path.rename(tree.path.with_name("old"))
    other = history(tree.path, ["good", "bad", "bad"])
    done = find(options(other), Words())
    assert done.found.first_bad is not None
    assert done.found.first_bad.sha == other.git("rev-parse", "c1")
