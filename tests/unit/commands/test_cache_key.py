# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci cache-key`` as it is called: without an engine, and for the file that GitHub's runner reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kbtf_ci.commands.main import main
from tests.support.composite import read_outputs
from tests.support.schemas import valid


def call(*words: str) -> Result:
    return CliRunner().invoke(main, ["cache-key", *words])


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that looked for one would end with 5."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


def test_json_is_of_its_schema() -> None:
    done = call("--json", "--btf-cache")
    assert done.exit_code == 0
    valid("cache-key", json.loads(done.stdout))


def test_a_person_reads_the_key_or_why_there_is_none() -> None:
    lines = call().stdout.splitlines()
    assert lines[0].startswith("image: kbtf-ci-image-trixie-")
    assert any(line.startswith("source: none: ") for line in lines)


def test_github_reads_what_json_says() -> None:
    outputs = read_outputs(call("--github", "--btf-cache").stdout)
    caches = {one["name"]: one for one in json.loads(call("--json", "--btf-cache").stdout)["caches"]}
    for name, one in caches.items():
        assert outputs[f"{name}-key"] == (one["key"] or "")
        assert outputs[f"{name}-restore-keys"].split() == one["restore_keys"]
        assert outputs[f"{name}-path"] == (one["path"] or "")
    assert outputs["image-name"] == caches["image"]["image"]


def test_a_path_may_hold_what_would_be_another_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"{tmp_path}/a\nimage-key=evil\nb"
    monkeypatch.setenv("KBTF_CI_CACHE", folder)
    outputs = read_outputs(call("--github").stdout)
    assert outputs["ccache-path"] == f"{folder}/ccache"
    assert outputs["image-key"].startswith("kbtf-ci-image-")


@pytest.mark.parametrize("words", [["--json", "--github"], ["--config", "no/such"], ["--suite", "potato"]])
def test_what_cannot_be_told_is_one_line(words: list[str]) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith("kbtf-ci: ")
