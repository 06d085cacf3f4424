# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A finished build is known again by what make left, to the last file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbtf_ci.kernel.build import Built, build
from kbtf_ci.kernel.finished import find_finished, keep_finished
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.kconfig import configure
from tests.support import faketree


@pytest.fixture
def kbuild(tmp_path: Path) -> Kbuild:
    kbuild = faketree.kbuild(tmp_path)
    configure(kbuild, faketree.profile(tmp_path), ())
    return kbuild


def made(kbuild: Kbuild, stamp: str = "one") -> Built:
    built = build(kbuild, kbuild.build_dir.parent / "log", lambda now: None)
    keep_finished(kbuild, stamp, built)
    return built


def test_what_make_left_is_found_with_nothing_done_to_it(kbuild: Kbuild) -> None:
    built = made(kbuild)
    found = find_finished(kbuild, "one")
    assert found is not None
    assert (found.release, found.modules, found.image) == (built.release, built.modules, built.image)
    assert (found.skipped_btf, found.compiled, found.steps) == (built.skipped_btf, 0, {})


def test_another_configuration_or_one_that_may_change_unseen_is_made(kbuild: Kbuild) -> None:
    made(kbuild)
    assert find_finished(kbuild, "two") is None
    assert find_finished(kbuild, "") is None
    made(kbuild, "")
    assert find_finished(kbuild, "one") is None


@pytest.mark.parametrize("name", ["vmlinux", "modules.order", ".config", "a module"])
@pytest.mark.parametrize("change", ["touched", "written", "gone"])
def test_any_file_that_is_not_as_make_left_it_is_made(kbuild: Kbuild, name: str, change: str) -> None:
    made(kbuild)
    path = kbuild.build_dir / (kbuild.modules[0] if name == "a module" else name)
    before = path.stat()
    if change == "touched":
        os.utime(path, ns=(1, 1))
    elif change == "written":
        # In place, as long as before, its time put back: ctime tells.
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        path.unlink()
    assert find_finished(kbuild, "one") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"stamp": "one", "files": {}}'])
def test_a_broken_note_is_none(kbuild: Kbuild, content: str) -> None:
    made(kbuild)
    (kbuild.build_dir / ".kbtf-ci/built.json").write_text(content)
    assert find_finished(kbuild, "one") is None
