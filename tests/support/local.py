# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The Runner protocol without an engine, which remembers what it was asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar

from kbtf_ci.host.runner import HostRunner
from kbtf_ci.infra.runner import Command, Process


@dataclass(frozen=True)
class LocalRunner(HostRunner):
    """Runs commands on this machine; ``started`` holds every command in order.

    It takes what only a container could do, and does without that.
    """

    contained: ClassVar[bool] = True
    started: list[Command] = field(default_factory=list)

    def start(self, command: Command) -> AbstractContextManager[Process]:
        """Start ``command``; see ``kbtf_ci.infra.runner.Runner.start``."""
        started = super().start(command)
        self.started.append(command)
        return started
