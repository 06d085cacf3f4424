# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.image import ROOT_ARCHIVE
from kbtf_ci.host import programs
from kbtf_ci.host.programs import kept_runner, own_runner
from kbtf_ci.infra.cachedirs import entries
from kbtf_ci.infra.runner import Command, run
from kbtf_ci.model.prune import Kind

VERSIONS = {"gcc": "14.2.0", "ccache": "4.11"}
MAKEFILE = """all:
\tfor name in kbtf-ci-pahole kbtf-ci-account kvmcheck probe prove; do \\
\t  printf '#!/bin/sh\\necho %s %s\\n' $$name $(LIBRARIES) > $(O)/$$name && chmod +x $(O)/$$name; \\
\tdone
"""
MKROOT = 'echo "$1 $2" | tr -d "\\n" > /dev/null; cat "$1/init" > "$3"\n'


@pytest.fixture
def containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ships: a recipe of the same form, whose programs say their names."""
    folder = tmp_path / "share" / "containers"
    (folder / "guest").mkdir(parents=True)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "guest/mkroot").write_text(MKROOT)
    (folder / "guest/init").write_text("root archive")
    monkeypatch.setattr(programs, "shipped", lambda kind: folder.parent / kind)
    return folder


def said(cache: Path, *argv: str, versions: dict[str, str] | None = None) -> str:
    return run(own_runner(versions or VERSIONS, cache), Command(argv)).text.strip()


def test_programs_are_made_once_and_found_where_the_image_has_them(containers: Path, tmp_path: Path) -> None:
    cache = tmp_path / "programs"
    assert kept_runner(VERSIONS, cache) is None
    name, place = said(cache, "/usr/bin/kbtf-ci-account").split()
    assert name == "kbtf-ci-account"
    shims = Path(place) / "accounted"
    assert shims == next(cache.glob("*/accounted"))
    assert {link.name for link in shims.iterdir()} == {"ld", "ld.bfd", "resolve_btfids"}
    assert said(cache, "/usr/lib/kbtf-ci/accounted/resolve_btfids").startswith("kbtf-ci-account")
    assert said(cache, "cat", ROOT_ARCHIVE) == "root archive"
    made = [path.stat().st_mtime_ns for path in cache.glob("*/kvmcheck")]
    assert said(cache, "/usr/bin/kbtf-ci-pahole").startswith("kbtf-ci-pahole")
    assert [path.stat().st_mtime_ns for path in cache.glob("*/kvmcheck")] == made
    assert kept_runner(VERSIONS, cache) is not None
    assert [entry.kind for entry in entries(tmp_path)] == [Kind.PROGRAMS]


def test_other_sources_and_other_compilers_make_others(containers: Path, tmp_path: Path) -> None:
    cache = tmp_path / "programs"
    said(cache, "true")
    said(cache, "true", versions={**VERSIONS, "gcc": "15.1.0"})
    (containers / "guest/init").write_text("another")
    assert said(cache, "cat", ROOT_ARCHIVE) == "another"
    assert len(list(cache.glob("*/kvmcheck"))) == 3


def test_those_of_the_image_are_taken_where_they_are_of_this_version(
    containers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_SOURCES", containers)
    runner = own_runner(VERSIONS, tmp_path / "programs")
    assert not list((tmp_path / "programs").glob("*/"))
    assert runner.paths == {}
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(programs, "_SOURCES", other)
    assert own_runner(VERSIONS, tmp_path / "programs").paths != {}


def test_without_ccache_the_compiler_is_called_in_its_place(containers: Path, tmp_path: Path) -> None:
    versions = {"gcc": "14.2.0"}
    assert said(tmp_path / "programs", "ccache", "echo", "a b", versions=versions) == "a b"
    assert not list((tmp_path / "other").glob("*"))


def test_what_cannot_be_made_is_told_with_the_packages_and_leaves_nothing(
    containers: Path, tmp_path: Path
) -> None:
    (containers / "Makefile").write_text("all:\n\t@echo cannot find -lcrypto; false\n")
    with pytest.raises(InfrastructureError, match="own programs could not be made") as raised:
        own_runner(VERSIONS, tmp_path / "programs")
    assert "libssl-dev" in raised.value.hint
    assert "cannot find -lcrypto" in raised.value.detail
    assert not list((tmp_path / "programs").glob("*/"))
