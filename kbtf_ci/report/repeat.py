# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The command that shows a cause again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from kbtf_ci.model.bundle import NAME, OF_BTF
from kbtf_ci.model.cause import Cause
from kbtf_ci.model.results import Results


@dataclass(frozen=True)
class Command:
    """A command line, and what it is for."""

    why: str
    line: str


def repeat(cause: Cause, results: Results, folder: str) -> Command:
    """Return the command for a cause: of one module's BTF a bundle of it, else the run's modules once more.

    ``folder`` names the run directory.
    """
    wanted = frozenset(cause.modules)
    for module in results.modules:
        if module.name in wanted and module.outcome in OF_BTF and NAME.fullmatch(module.name):
            return Command(
                "An archive that shows it in plain QEMU:",
                f"kbtf-ci repro bundle {shlex.quote(folder)} {module.name}",
            )
    return Command("Again:", f"kbtf-ci verify {shlex.quote(folder)}")
