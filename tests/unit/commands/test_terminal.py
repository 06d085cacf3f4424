# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Commands on a real terminal and without one: bars or lines, colours or none, and what --quiet leaves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kbtf_ci.commands.main import main
from tests.support.terminals import on_terminal

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A command's session as commands/*.py have it, its work a few numbers.
PROGRAM = """
import sys
from kbtf_ci.commands.session import reporting
with reporting(quiet="-q" in sys.argv, debug=False) as reporter:
    reporter.stage("build")
    for done in range(1, 8):
        reporter.progress("CC kernel/exit.o", done, 14)
    reporter.warn("beware")
    print("on standard output")
    reporter.stage("check")
"""


def variables(**others: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    return {**kept, "TERM": "xterm-256color", **others}


def shown(*words: str, **others: str) -> str:
    status, text = on_terminal([sys.executable, "-c", PROGRAM, *words], variables(**others))
    assert status == 0, text
    return text


def test_a_terminal_shows_a_bar_with_a_fraction() -> None:
    text = shown()
    assert "━" in text
    assert "7/14" in text
    assert COLOUR.search(text)


@pytest.mark.parametrize(
    "forced", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}, {"CLICOLOR_FORCE": "1"}]
)
def test_without_a_terminal_there_are_lines_alone(forced: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=variables(**forced), capture_output=True, text=True, check=True
    )
    assert "\x1b" not in done.stderr
    assert [re.sub(r"[\d.]+ s", "N s", line) for line in done.stderr.splitlines()] == [
        "build ...", "warning: beware", "  build: N s", "check ...", "  check: N s",
    ]  # fmt: skip


def test_no_color_leaves_the_bar_and_no_colour() -> None:
    text = shown(NO_COLOR="1")
    assert "7/14" in text
    assert "━" in text
    assert not COLOUR.search(text)
    assert COLOUR.search(shown(NO_COLOR=""))


def test_a_dumb_terminal_gets_lines_alone() -> None:
    assert "\x1b" not in shown(TERM="dumb")


def test_quiet_leaves_the_warning() -> None:
    assert COLOUR.sub("", shown("-q")) == "warning: beware\r\non standard output\r\n"


def test_what_is_printed_while_a_bar_is_drawn_goes_where_it_was_to_go(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        _, text = on_terminal([sys.executable, "-c", PROGRAM], variables(), out.fileno())
    assert (tmp_path / "out").read_text() == "on standard output\n"
    assert "on standard output" not in text


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--no-such-option"], ["nosuch"], ["check"], ["sizes", "/no"]]
)
def test_clicks_own_words_have_no_colour(words: list[str]) -> None:
    _, text = on_terminal([sys.executable, "-m", "kbtf_ci", *words], variables(NO_COLOR="1"))
    assert text
    assert not COLOUR.search(text)


def commands(group: click.Group, *words: str) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, *words, name)
        else:
            yield (*words, name)


def test_every_command_can_be_quiet() -> None:
    found = list(commands(main))
    assert ("repro", "replay") in found
    loud = [
        words for words in found if "-q, --quiet" not in CliRunner().invoke(main, [*words, "--help"]).output
    ]
    assert loud == []
