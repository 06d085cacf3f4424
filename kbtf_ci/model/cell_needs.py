# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a cell of a matrix will need of the machine that runs it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kbtf_ci.model.matrix import Cell


@dataclass(frozen=True)
class CellNeeds:
    """The toolchain's suite, compiler and architecture; MiB of build directory and guest; its CPUs.

    ``suite`` is "" where the machine's own tools are taken (``engine = "host"``).
    ``disk_mib`` is 0 where nothing is built, and where its profile does not say; ``memory_mib`` is None where
    it is by what is loaded, ``cpus`` where that is left to the guest. ``resources`` are a worker's.
    ``refused`` is why it will not run at all, "" where it may.
    """

    suite: str
    toolchain: str
    architecture: str
    disk_mib: int = 0
    memory_mib: int | None = None
    cpus: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    refused: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "resources": dict(self.resources)}


def disk_together(cells: Sequence[Cell], needs: Mapping[str, CellNeeds]) -> int:
    """Return the MiB of all build directories: cells that share compiled objects have one."""
    by_build = {cell.compiled: needs[cell.name].disk_mib for cell in cells}
    return sum(by_build.values())
