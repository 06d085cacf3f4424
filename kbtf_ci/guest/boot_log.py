# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kernel's log of one boot as it comes: each record is written once, and its warnings are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from kbtf_ci.guest.kernel_warning import WarningParser, parse_warnings
from kbtf_ci.guest.kmsg import KmsgLog, Record
from kbtf_ci.model.kernel_warning import KernelWarning


class BootLog:
    """Appends to the file ``path``; tells ``tell`` of each warning, with the module that it belongs to."""

    def __init__(self, path: Path, tell: Callable[[KernelWarning], None], *, emulated: bool) -> None:
        self._kmsg = KmsgLog(path)
        self._parser = WarningParser(emulated=emulated)
        self._emulated = emulated
        self._tell = tell
        self._told: set[tuple[str, str, str]] = set()
        self._load = ""

    def add(self, records: Iterable[Record]) -> None:
        """Take records that came with the load that was begun last, or after it; "" before the first."""
        new = self._kmsg.add(records)
        self._hear(self._parser.feed((line for record in new for line in record.lines), self._load))

    def begin_load(self, module: str) -> None:
        """Have what comes from here on belong to ``module``'s load."""
        self._load = module

    def add_console(self, lines: Iterable[str], module: str) -> None:
        """Take what the console said of ``module``'s load, where the kernel's log could not be read any more.

        What the log had said already is not told again.
        """
        self.finish()
        found = parse_warnings(lines, module, emulated=self._emulated)
        self._hear(one for one in found if one.identity not in self._told)

    def finish(self) -> None:
        """Tell of the warning that no line has ended: there is no more to come for now."""
        self._hear(self._parser.finish())

    def _hear(self, warnings: Iterable[KernelWarning]) -> None:
        for one in warnings:
            self._told.add(one.identity)
            self._tell(one)
