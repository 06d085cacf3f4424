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


@dataclass(frozen=True)
class Chain:
    """Cells that follow each other, as they share compiled objects, and where the first is to be run.

    ``near`` is the address of the worker that has these, "" for none, ``away`` those of workers on which it
    came to no verdict.
    """

    cells: tuple[Cell, ...]
    near: str = ""
    away: frozenset[str] = frozenset()


Workers = Mapping[str, Mapping[str, float]]  # resources by address


def able_workers(chain: Chain, workers: Workers) -> list[str]:
    """Return the workers that offer what a chain's first cell wants, whether they have a place or not."""
    wanted = needs(chain.cells[0])
    return [address for address, resources in workers.items() if offers(resources, wanted)]


def place_for(chain: Chain, workers: Workers, taken: Mapping[str, int]) -> str | None:
    """Return the worker on which a chain's first cell begins now; None where it has to wait for one.

    That is the near one while it is there, else one where it was not tried, else any. ``taken`` says how many
    cells each worker has.
    """
    able = able_workers(chain, workers)
    able = [chain.near] if chain.near in able else [one for one in able if one not in chain.away] or able
    free = [address for address in able if taken.get(address, 0) < int(workers[address][CELL])]
    return min(free, key=lambda address: taken.get(address, 0), default=None)


def free_places(workers: Workers, taken: Mapping[str, int]) -> int:
    """Return how many cells more all workers may run now."""
    return sum(max(0, int(one.get(CELL, 0)) - taken.get(address, 0)) for address, one in workers.items())


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
