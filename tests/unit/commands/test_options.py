# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Options that several commands share, as a user gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kbtf_ci.commands.main import main


@pytest.mark.parametrize("command", ["run", "verify"])
def test_an_unknown_finding_is_a_line_that_names_the_known_ones(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [command, "--fail-on", "warnings", *([str(tmp_path)] if command == "verify" else [])]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert "--fail-on warnings: there is no finding 'warnings'" in done.output
    assert "the findings are warning, base-mismatch" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["run", "verify"])
def test_what_counts_by_itself_is_shown(command: str) -> None:
    text = CliRunner().invoke(main, [command, "--help"]).output
    assert "--fail-on LIST" in text
    assert "[default:base-mismatch,proof,unusable,vmlinux-btf]" in "".join(text.split())


def test_what_guests_of_another_architecture_cannot_do_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["run", "--arch", "arm64", "--prove", "kfunc"])
    assert done.exit_code == 2
    assert "--prove tries programs on x86_64 alone, and this kernel is for arm64" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message", "way_out"),
    [
        (("--toolchain", "icc"), "--toolchain icc: no compiler's name", "clang-19"),
        (("LLVM=1",), "LLVM=1: the compiler would stay gcc", "--toolchain clang-N"),
        (("--pahole", "sid"), "--pahole sid: no such file, folder or suite", "bookworm, trixie, forky"),
        (("--pahole", "forky", "--pahole-tree", "."), "each name a pahole", ""),
        (("--libbpf-tree", "."), "a pahole is built with it, and none is", "--pahole"),
        (("--fragment", "thin"), "/thin: no such fragment or file", "thinlto, trace"),
    ],
)
def test_a_compiler_or_a_fragment_that_is_none_is_one_line(
    words: tuple[str, ...], message: str, way_out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["run", *words])
    assert done.exit_code == 2
    assert message in done.output
    assert way_out in done.output
    assert list(tmp_path.iterdir()) == []
