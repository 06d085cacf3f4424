# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What make does from one commit to the next, in a clone that keeps its path and its build directory."""

from __future__ import annotations

import shutil
from pathlib import Path

from kbtf_ci.kernel.build import build
from kbtf_ci.kernel.history import Clone, History
from kbtf_ci.kernel.kconfig import configure
from tests.support import faketree
from tests.support.history import Repository


def test_a_step_makes_only_what_differs(tmp_path: Path) -> None:
    repository = Repository.make(tmp_path / "repository")
    shutil.copytree(faketree.plant(tmp_path / "plain"), repository.path, dirs_exist_ok=True)
    one = repository.commit("one", {})
    two = repository.commit("two", {"lib/beta.bin": "other bytes"})
    clone = Clone(History(repository.path, "-C"), tmp_path / "tree")
    steps = []
    for sha in (one, two, two, one):
        clone.check_out(sha)
        kbuild = faketree.kbuild(tmp_path)
        configure(kbuild, faketree.profile(tmp_path), ())
        steps.append(build(kbuild, tmp_path / "build.log", lambda progress: None).steps)
    beta = {"CC [M]": 1, "LD [M]": 1, "BTF [M]": 1}
    assert steps == [{"CC": 1, "CC [M]": 2, "LD [M]": 2, "BTF [M]": 2}, beta, {}, beta]
