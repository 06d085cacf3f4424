# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Machines that share the cells of a matrix: their scheduler, and what a cell wants of a worker. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.model.matrix import Cell

# Resources by the names that ``dask worker --resources`` gives them: how many cells at once, and whether a
# guest of this machine's own architecture runs in KVM.
CELL: Final = "cell"
KVM: Final = "kvm"


@dataclass(frozen=True)
class ClusterOptions:
    """The scheduler, by its address or its file, and the files of TLS; all empty: there is none."""

    scheduler: str = ""
    scheduler_file: Path | None = None
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @property
    def named(self) -> bool:
        """Whether there is a scheduler."""
        return bool(self.scheduler or self.scheduler_file)

    @property
    def where(self) -> str:
        """The scheduler as the user named it."""
        return self.scheduler or str(self.scheduler_file)


def needs(cell: Cell) -> Mapping[str, float]:
    """Return the resources that a worker has to offer for a cell."""
    found = {CELL: 1.0}
    if cell.options.get("accel") == "kvm":
        found[KVM] = 1.0
    return found


def offers(resources: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    """Return whether a worker with these resources may run what wants those."""
    return all(resources.get(name, 0.0) >= amount for name, amount in wanted.items())


def shares(
    waiting: Sequence[Cell], compiling: float, each: float, workers: int
) -> tuple[tuple[Cell, ...], ...]:
    """Return who runs cells that share compiled objects: the worker that has these, then others.

    ``workers`` counts it and those that have nothing else to do. Another one has to compile anew, which takes
    ``compiling`` seconds, and pays where what is left takes longer than that at ``each`` seconds a cell.
    """

    def takes(number: int) -> float:
        return math.ceil(len(waiting) / number) * each + (compiling if number > 1 else 0.0)

    if not waiting:
        return ()
    best = min(range(1, max(1, min(workers, len(waiting))) + 1), key=takes)
    return tuple(tuple(waiting[number::best]) for number in range(best))


def shown(resources: Mapping[str, float]) -> str:
    """Return resources as Dask's command line has them."""
    return " ".join(f"{name}={amount:g}" for name, amount in sorted(resources.items()))
