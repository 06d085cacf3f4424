# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How a run looks to a person: live progress on a terminal, a line per stage and a heartbeat without one."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from kbtf_ci.infra.text import inert
from kbtf_ci.model.pace import Pace

_HEARTBEAT_S = 30.0
_BAR_WIDTH = 20


def _standard_error() -> Console:
    """Return standard error, as rich writes to it.

    ``NO_COLOR``, with any value but the empty one, takes all colour away (https://no-color.org). Left to
    itself rich heeds the empty one before 14.0, and takes a file for a terminal where ``FORCE_COLOR`` is set.
    """
    return Console(
        stderr=True,
        force_terminal=sys.stderr.isatty(),
        no_color=bool(os.environ.get("NO_COLOR")),
        highlight=False,
        soft_wrap=True,
    )


@dataclass(frozen=True)
class _Amount:
    """How far a stage is; ``total`` None says that nobody knows how much it will be."""

    text: str = ""
    done: int = 0
    total: int | None = None
    left: str = ""

    @property
    def words(self) -> str:
        """The same for a line of text."""
        if self.total is not None:
            counted = f"{self.done}/{self.total} ({100 * self.done // self.total} %)"
        else:
            counted = f"{self.done} done" if self.done else ""
        return ", ".join(part for part in (counted, self.text, self.left) if part)


class TerminalReporter:
    """A Reporter on standard error; standard output is left to results.

    ``clock`` gives seconds. ``console`` is for tests.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console = console or _standard_error()
        self._quiet = quiet
        self._clock = clock
        self._live: Live | None = None
        self._spinner = Spinner("dots")
        self._stage = ""
        self._amount = _Amount()
        self._pace = Pace()
        self._began = self._told = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stage(self, name: str) -> None:
        """Begin a stage: a spinner on a terminal, a line elsewhere."""
        self.close()
        self._stage, self._amount, self._pace = inert(name), _Amount(), Pace()
        self._began = self._told = self._clock()
        if self._quiet:
            return
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            # Whoever prints on standard output meanwhile means standard output.
            self._live = Live(
                get_renderable=self._drawn, console=self.console, transient=True, redirect_stdout=False
            )
            self._live.start(refresh=True)
        else:
            self.console.print(f"{self._stage} ...", markup=False)

    def progress(self, text: str, done: int = 0, total: int | None = None) -> None:
        """Show how far the stage is: always on a terminal, now and then elsewhere."""
        now = self._clock()
        if not total or done > total:  # more than it was to be: so it is not known after all
            self._amount = _Amount(inert(text), done)
        else:
            left = _left(self._pace.remaining_s(now, done, total))
            self._amount = _Amount(inert(text), done, total, left)
        if self._live is None and not self._quiet and now - self._told >= _HEARTBEAT_S:
            self._told = now
            self.console.print(f"  {self._timed(now)}: {self._amount.words}", markup=False)

    def note(self, text: str) -> None:
        """Print a fact."""
        if not self._quiet:
            self.console.print(f"  {inert(text)}", markup=False)

    def warn(self, text: str) -> None:
        """Print a warning; --quiet does not hide it."""
        self.console.print(f"warning: {inert(text)}", style="yellow", markup=False)

    def close(self) -> None:
        """End the stage under way, with its time."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._stage and not self._quiet:
            self.console.print(f"  {self._stage}: {self._clock() - self._began:.1f} s", markup=False)
        self._stage = ""

    def _timed(self, now: float) -> str:
        return f"{self._stage} {now - self._began:.0f} s"

    def _drawn(self) -> RenderableType:
        """Return the line as it is now; what does not fit is cut off, so that it stays one."""
        amount, stage = self._amount, Text(self._timed(self._clock()))
        cells: list[RenderableType] = [self._spinner, stage]
        if amount.total is not None:
            width = min(_BAR_WIDTH, self.console.width // 4)
            cells.append(ProgressBar(amount.total, amount.done, width))
            cells.append(Text(f"{amount.done}/{amount.total}"))
            text = ", ".join(part for part in (amount.left, amount.text) if part)
        else:
            text = amount.words
        grid = Table.grid(padding=(0, 1), expand=True)
        for _ in cells:
            grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        grid.add_row(*cells, Text(text))
        return grid


def _left(seconds: float | None) -> str:
    """Return a remaining time as a person may believe it: no more exact than it is known."""
    if seconds is None:
        return ""
    if seconds <= 50:
        return f"{10 * math.ceil(seconds / 10)} s left"
    minutes = math.ceil(seconds / 60)
    if minutes < 60:
        return f"{minutes} min left"
    return f"{minutes // 60} h {minutes % 60} min left"
