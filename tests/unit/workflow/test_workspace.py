# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import EngineError, UsageError
from kbtf_ci.host import toolchain as host_toolchain
from kbtf_ci.host.runner import HostRunner
from kbtf_ci.host.toolchain import HostToolchain
from kbtf_ci.infra.locks import if_free
from kbtf_ci.infra.profiles import find_profile
from kbtf_ci.kernel.source import Source
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.run_record import HOST
from kbtf_ci.report.terminal import TerminalReporter
from kbtf_ci.workflow import workspace
from kbtf_ci.workflow.workspace import (
    Tools,
    build_folder,
    locked_build_dir,
    source,
    toolchain,
    with_pahole,
)
from tests.support.local import LocalRunner
from tests.support.records import run_record

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
        assert folder == build_folder(
            self.SOURCE, profile, replace(self.OPTIONS, pahole_suite="x"), TOOLS.key
        )
        others = (
            replace(self.OPTIONS, pahole=first),
            replace(self.OPTIONS, pahole=second),
            self.OPTIONS,
        )
        assert len({folder, *(build_folder(self.SOURCE, profile, other, TOOLS.key) for other in others)}) == 4

    def test_one_that_a_run_has_kept_is_not_built_again(self, tmp_path: Path) -> None:
        kept = replace(self.OPTIONS, pahole_tree=tmp_path / "gone", pahole=tmp_path / "pahole")
        reporter = TerminalReporter(quiet=True)
        assert with_pahole(kept, TOOLS, reporter) == kept
        assert with_pahole(self.OPTIONS, TOOLS, reporter) == self.OPTIONS
        with pytest.raises(UsageError, match="not a source of pahole"):
            with_pahole(replace(kept, pahole=None), TOOLS, reporter)


class TestTheHost:
    """This machine in the place of an image."""

    def tools(self, **versions: str) -> Tools:
        return Tools(Toolchain(HOST, HOST, versions), HostRunner())

    def test_a_build_of_one_machine_is_never_mixed_with_one_of_another_or_of_an_image(self) -> None:
        first, newer = self.tools(gcc="14.2.0", pahole="1.30"), self.tools(gcc="15.1.0", pahole="1.30")
        same = self.tools(pahole="1.30", gcc="14.2.0")
        profile, options, tree = find_profile("smoke"), BuildOptions("smoke", 1), TestPaholeOfSource.SOURCE
        keys = [tools.key for tools in (first, same, newer, TOOLS)]
        folders = [build_folder(tree, profile, options, key).name for key in keys]
        assert folders[0] == folders[1]
        assert len(set(folders)) == 3
        assert (TOOLS.key, TOOLS.name) == ("trixie", "image")
        assert first.key == first.name
        assert first.key.startswith("host-")

    def test_a_kernels_source_is_a_package_or_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UsageError, match="no package of a kernel's source") as raised:
            source(BuildOptions("smoke", 1), self.tools(gcc="14"), TerminalReporter(quiet=True))
        assert "-C" in raised.value.hint

    def test_the_choice_decides_what_the_toolchain_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = HostToolchain({"gcc": "14.2.0"}, HostRunner())
        monkeypatch.setattr(host_toolchain, "ensure", lambda cache: made)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
        reporter = TerminalReporter(quiet=True)
        monkeypatch.setenv("KBTF_CI_ENGINE", "host")
        tools = toolchain("trixie", reporter)
        assert (tools.runner, tools.record.image, tools.record.isolated) == (made.runner, "host", False)
        monkeypatch.setenv("KBTF_CI_ENGINE", "container")
        with pytest.raises(EngineError, match=r"none\.sock"):
            toolchain("trixie", reporter)

    @pytest.mark.parametrize(("made", "now"), [("host", "container"), ("kbtf-ci/toolchain:x", "host")])
    def test_a_run_of_the_other_engine_is_told_apart(
        self, made: str, now: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tools = self.tools() if now == "host" else TOOLS
        monkeypatch.setattr(workspace, "toolchain", lambda suite, reporter: tools)
        record = run_record(toolchain={"image": made, "suite": "x"})
        other = "host" if now == "container" else "container"
        with (
            pytest.raises(UsageError, match=f"built with --engine {other}"),
            workspace.open_build(BuildOptions("smoke", 1), TerminalReporter(quiet=True), record),
        ):
            pass
