# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a person sees of a run's progress, with a clock that the test turns."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from kbtf_ci.report.terminal import TerminalReporter

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Shown:
    """A reporter on a console of its own, and its clock."""

    def __init__(self, *, terminal: bool, quiet: bool = False, width: int = 100) -> None:
        self.now = 1000.0
        self._text = io.StringIO()
        console = Console(
            file=self._text,
            force_terminal=terminal,
            color_system=None,
            width=width,
            soft_wrap=True,
            highlight=False,
        )
        self.reporter = TerminalReporter(quiet=quiet, console=console, clock=lambda: self.now)

    def steps(self, numbers: range, total: int | None, text: str = "CC kernel/exit.o") -> None:
        for done in numbers:
            self.now += 1
            self.reporter.progress(text, done, total)

    @property
    def text(self) -> str:
        return self._text.getvalue()

    @property
    def drawn(self) -> str:
        """The line as it was drawn last, before it went."""
        frames = [ESCAPE.sub("", frame) for frame in re.split(r"[\r\n]", self.text)]
        return next(frame for frame in reversed(frames) if " s" in frame and not frame.startswith("  "))

    @property
    def lines(self) -> list[str]:
        assert "\x1b" not in self.text
        return self.text.splitlines()


@pytest.fixture(autouse=True)
def an_able_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def terminal() -> Iterator[Callable[..., Shown]]:
    """Make reporters on terminals; whatever a test does, their threads end."""
    made: list[Shown] = []

    def make(width: int = 100) -> Shown:
        made.append(Shown(terminal=True, width=width))
        return made[-1]

    yield make
    for one in made:
        one.reporter.close()


def test_a_known_amount_is_a_bar_with_a_fraction_and_the_remaining_time(
    terminal: Callable[..., Shown],
) -> None:
    shown = terminal()
    shown.reporter.stage("build")
    shown.steps(range(5, 255, 5), 1000)
    shown.reporter.close()
    assert re.fullmatch(r"\S build 50 s ━━━━━ +250/1000 3 min left, CC kernel/exit.o *", shown.drawn), (
        shown.drawn
    )
    assert shown.text.endswith("  build: 50.0 s\n")


def test_the_first_seconds_show_no_remaining_time(terminal: Callable[..., Shown]) -> None:
    shown = terminal()
    shown.reporter.stage("build")
    shown.steps(range(100, 1000, 100), 1000)
    shown.reporter.close()
    assert "900/1000" in shown.drawn
    assert "left" not in shown.text


def test_an_unknown_amount_is_a_spinner_and_a_count(terminal: Callable[..., Shown]) -> None:
    shown = terminal()
    shown.reporter.stage("build")
    shown.steps(range(1, 40), None)
    shown.reporter.close()
    assert re.fullmatch(r"\S build 39 s 39 done, CC kernel/exit.o *", shown.drawn), shown.drawn
    assert "━" not in shown.text


@pytest.mark.parametrize("total", [30, 0])
def test_more_than_there_was_to_be_is_an_unknown_amount(total: int, terminal: Callable[..., Shown]) -> None:
    shown = terminal()
    shown.reporter.stage("build")
    shown.steps(range(1, 40), total)
    shown.reporter.close()
    assert re.fullmatch(r"\S build 39 s 39 done, CC kernel/exit.o *", shown.drawn), shown.drawn


def test_all_of_it_is_a_full_bar(terminal: Callable[..., Shown]) -> None:
    shown = terminal()
    shown.reporter.stage("check")
    shown.steps(range(1, 41), 40, "")
    shown.reporter.close()
    assert re.fullmatch(r"\S check 40 s ━{20} 40/40 *", shown.drawn), shown.drawn


def test_a_stage_knows_nothing_of_the_one_before(terminal: Callable[..., Shown]) -> None:
    shown = terminal()
    shown.reporter.stage("build")
    shown.steps(range(10, 250, 10), 1000)
    shown.reporter.stage("copy")
    shown.reporter.close()
    assert re.fullmatch(r"\S copy 0 s *", shown.drawn), shown.drawn


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80])
def test_a_narrow_terminal_has_one_line_that_fits(width: int, terminal: Callable[..., Shown]) -> None:
    shown = terminal(width=width)
    shown.reporter.stage("build")
    shown.steps(range(10, 310, 10), 1000, "CC [M]  drivers/net/ethernet/" + "very/" * 40 + "long.o")
    shown.reporter.close()
    frames = [
        ESCAPE.sub("", frame) for frame in re.split(r"\r|\n", shown.text.removesuffix("  build: 30.0 s\n"))
    ]
    assert max(map(len, frames)) <= width
    assert "\x1b[2A" not in shown.text


HOSTILE = "\x1b[31mred\n[bold]x[/bold] {task.id}\u202e"


def test_hostile_text_steers_neither_terminal_nor_markup(terminal: Callable[..., Shown]) -> None:
    shown = terminal(width=200)
    shown.reporter.stage(f"build {HOSTILE}")
    shown.steps(range(1, 3), 10, HOSTILE)
    shown.reporter.note(HOSTILE)
    shown.reporter.warn(HOSTILE)
    shown.reporter.close()
    assert "\x1b[31m" not in shown.text
    assert "\u202e" not in shown.text
    assert shown.drawn.count(r"\x1b[31mred\n[bold]x[/bold] {task.id}\u202e") == 2


def test_without_a_terminal_a_heartbeat_says_fraction_and_remaining_time() -> None:
    shown = Shown(terminal=False)
    shown.reporter.stage("build")
    shown.steps(range(5, 505, 5), 1000)
    shown.reporter.close()
    assert shown.lines == [
        "build ...",
        "  build 30 s: 150/1000 (15 %), CC kernel/exit.o, 3 min left",
        "  build 60 s: 300/1000 (30 %), CC kernel/exit.o, 3 min left",
        "  build 90 s: 450/1000 (45 %), CC kernel/exit.o, 2 min left",
        "  build: 100.0 s",
    ]


def test_without_a_terminal_an_unknown_amount_is_a_count_and_hostile_text_a_line() -> None:
    shown = Shown(terminal=False)
    shown.reporter.stage("build")
    shown.steps(range(1, 31), None, HOSTILE)
    shown.steps(range(30), None, "")
    shown.reporter.close()
    assert shown.lines == [
        "build ...",
        r"  build 30 s: 30 done, \x1b[31mred\n[bold]x[/bold] {task.id}\u202e",
        "  build 60 s: 29 done",
        "  build: 60.0 s",
    ]


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    shown = Shown(terminal=True)
    shown.reporter.stage("build")
    shown.steps(range(1, 31), 60)
    shown.reporter.close()
    assert shown.lines == [
        "build ...",
        "  build 30 s: 30/60 (50 %), CC kernel/exit.o, 30 s left",
        "  build: 30.0 s",
    ]


@pytest.mark.parametrize("terminal_there", [False, True])
def test_quiet_leaves_warnings_alone(terminal_there: bool) -> None:
    shown = Shown(terminal=terminal_there, quiet=True)
    shown.reporter.stage("build")
    shown.steps(range(1, 100), 200)
    shown.reporter.note("a fact")
    shown.reporter.warn("beware")
    shown.reporter.close()
    assert shown.lines == ["warning: beware"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4, "10 s left"),
        (31, "40 s left"),
        (70, "2 min left"),
        (1000, "17 min left"),
        (9990, "2 h 47 min left"),
    ],
)
def test_a_remaining_time_is_no_more_exact_than_it_is_known(seconds: int, words: str) -> None:
    shown = Shown(terminal=False)
    shown.reporter.stage("build")
    shown.reporter.progress("", 0, 1000)
    shown.now += 30
    shown.reporter.progress("", round(1000 * 30 / (30 + seconds)), 1000)
    if seconds > 1500:
        assert "left" not in shown.text  # 3 of 1,000 in half a minute: who knows
        shown.now += 300
        shown.reporter.progress("", round(1000 * 330 / (330 + seconds)), 1000)
    assert shown.lines[-1].endswith(f", {words}")
