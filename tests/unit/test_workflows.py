# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the project's own CI may run: actions by hash, and no more rights than it needs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_there_are_workflows() -> None:
    assert [file.name for file in FILES] == ["ci.yml", "full.yml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_action_is_pinned_by_its_commit_and_says_its_version(file: Path) -> None:
    used = [line for line in file.read_text().splitlines() if "uses:" in line]
    assert used
    pinned = re.compile(r"\s+- uses: actions/[a-z-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+")
    assert [line for line in used if not pinned.fullmatch(line)] == []


def test_what_others_run_or_copy_is_pinned_as_our_own_workflows_are() -> None:
    """Updates come for those alone (.github/dependabot.yml)."""
    pins = re.compile(r"uses: (actions/[a-z-]+)(?:/[a-z]+)?(@\S+ # v\S+)")
    ours = {pin for file in FILES for pin in pins.findall(file.read_text())}
    theirs = [ROOT / "action.yml", *(ROOT / "examples/ci").glob("*.yml")]
    assert ours
    assert {pin for file in theirs for pin in pins.findall(file.read_text())} <= ours


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_may_read_the_repository_and_nothing_else(file: Path) -> None:
    text = file.read_text()
    assert re.findall(r"^permissions:\n((?: +.*\n)+)", text, re.MULTILINE) == ["  contents: read\n"]
    assert text.count("permissions:") == 1
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")
