# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from pathlib import Path

from kbtf_ci.infra.locks import if_free
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow.workspace import locked_build_dir


def test_build_directories_whose_names_differ_behind_a_dot_do_not_wait_for_each_other(tmp_path: Path) -> None:
    reporter = TerminalReporter(quiet=True)
    with (
        locked_build_dir(tmp_path / "tree-config-6.12.107-trixie", reporter),
        if_free(tmp_path / "tree-config-6.12.107-trixie.lock") as own,
        if_free(tmp_path / "tree-config-6.12.108-trixie.lock") as other,
    ):
        assert (own, other) == (False, True)
    assert not (tmp_path / "tree-config-6.12.lock").exists()
