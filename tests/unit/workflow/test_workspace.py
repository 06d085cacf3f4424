# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import UsageError
from kbtf_ci.infra.locks import if_free
from kbtf_ci.infra.profiles import find_profile
from kbtf_ci.kernel.source import Source
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.workspace import Tools, build_folder, locked_build_dir, with_pahole
from tests.support.local import LocalRunner

TOOLS = Tools(Toolchain("image", "trixie", {}), LocalRunner())


def test_build_directories_whose_names_differ_behind_a_dot_do_not_wait_for_each_other(tmp_path: Path) -> None:
    reporter = TerminalReporter(quiet=True)
    with (
        locked_build_dir(tmp_path / "tree-config-6.12.107-trixie", reporter),
        if_free(tmp_path / "tree-config-6.12.107-trixie.lock") as own,
        if_free(tmp_path / "tree-config-6.12.108-trixie.lock") as other,
    ):
        assert (own, other) == (False, True)
    assert not (tmp_path / "tree-config-6.12.lock").exists()


class TestPaholeOfSource:
    """What ``--pahole-tree`` becomes."""

    OPTIONS = BuildOptions("smoke", 1)
    SOURCE = Source(Path("/src"), "6.12", "a tree", "tree-0")

    def test_a_build_directory_stays_while_the_source_changes(self, tmp_path: Path) -> None:
        profile = find_profile("smoke")
        first, second = tmp_path / "first", tmp_path / "second"
        for program in (first, second):
            program.write_text(program.name)
        of_tree = replace(self.OPTIONS, pahole_tree=tmp_path, pahole=first)
        folder = build_folder(self.SOURCE, profile, of_tree, TOOLS.key)
        assert build_folder(self.SOURCE, profile, replace(of_tree, pahole=second), TOOLS.key) == folder
        others = (
            replace(of_tree, pahole_tree=tmp_path / "other"),
            replace(self.OPTIONS, pahole=first),
            replace(self.OPTIONS, pahole=second),
            self.OPTIONS,
        )
        assert len({folder, *(build_folder(self.SOURCE, profile, other, TOOLS.key) for other in others)}) == 5

    def test_one_that_a_run_has_kept_is_not_built_again(self, tmp_path: Path) -> None:
        kept = replace(self.OPTIONS, pahole_tree=tmp_path / "gone", pahole=tmp_path / "pahole")
        reporter = TerminalReporter(quiet=True)
        assert with_pahole(kept, TOOLS, reporter) == kept
        assert with_pahole(self.OPTIONS, TOOLS, reporter) == self.OPTIONS
        with pytest.raises(UsageError, match="not a source of pahole"):
            with_pahole(replace(kept, pahole=None), TOOLS, reporter)
