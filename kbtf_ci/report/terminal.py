# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How a run looks to a person: live progress on a terminal, a line per stage and a heartbeat without one."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from kbtf_ci.infra.text import inert

_HEARTBEAT_S = 30.0


class TerminalReporter:
    """A Reporter on standard error; standard output is left to results."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._quiet = quiet
        self._status: Status | None = None
        self._stage = ""
        self._began = time.monotonic()
        self._told = self._began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stage(self, name: str) -> None:
        """Begin a stage: a spinner on a terminal, a line elsewhere."""
        self.close()
        self._stage, self._began = name, time.monotonic()
        self._told = self._began
        if self._quiet:
            return
        if self.console.is_terminal:
            self._status = self.console.status(escape(name))
            self._status.start()
        else:
            self.console.print(f"{name} ...", markup=False)

    def progress(self, text: str) -> None:
        """Show how far the stage is: always on a terminal, now and then elsewhere."""
        now = time.monotonic()
        line = f"{self._stage} {now - self._began:.0f} s: {inert(text)}"
        if self._status is not None:
            self._status.update(escape(line))
        elif not self._quiet and now - self._told >= _HEARTBEAT_S:
            self._told = now
            self.console.print(f"  {line}", markup=False)

    def note(self, text: str) -> None:
        """Print a fact."""
        if not self._quiet:
            self.console.print(f"  {inert(text)}", markup=False)

    def warn(self, text: str) -> None:
        """Print a warning; --quiet does not hide it."""
        self.console.print(f"warning: {inert(text)}", style="yellow", markup=False)

    def close(self) -> None:
        """End the stage under way, with its time."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._stage and not self._quiet:
            self.console.print(f"  {self._stage}: {time.monotonic() - self._began:.1f} s", markup=False)
        self._stage = ""
