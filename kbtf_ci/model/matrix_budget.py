# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a verified cell of a matrix may take. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol


class Figures(Protocol):
    """What a cell took."""

    @property
    def btf_bytes(self) -> int:
        """Bytes of BTF of all its modules."""

    @property
    def modules(self) -> int:
        """How many these are."""

    @property
    def seconds(self) -> float:
        """How long it took."""


@dataclass(frozen=True)
class CellBudget:
    """What is allowed; None for any.

    ``btf_bytes`` of all modules; ``growth`` of those bytes in percent, and ``lost_modules``, against the time
    before that it was verified, without which they hold; ``seconds`` of the whole cell.
    """

    btf_bytes: int | None = None
    growth: float | None = None
    lost_modules: int | None = None
    seconds: float | None = None

    @classmethod
    def least(cls, budgets: Iterable[CellBudget]) -> CellBudget | None:
        """Return what keeps all of these; None for no budget."""
        found: dict[str, Any] = {}
        for budget in budgets:
            for name, value in asdict(budget).items():
                if value is not None:
                    found[name] = min(value, found.get(name, value))
        return cls(**found) if found else None

    def breaches(self, now: Figures, before: Figures | None) -> Iterator[str]:
        """Yield a line for each budget that is not kept."""
        if _is_over(now.btf_bytes, self.btf_bytes):
            yield f"{now.btf_bytes:,} bytes of BTF, and the budget is {self.btf_bytes:,}"
        if _is_over(now.seconds, self.seconds):
            yield f"{now.seconds:.0f} s, and the budget is {self.seconds:g}"
        if before is None:
            return
        growth = 100 * (now.btf_bytes - before.btf_bytes) / before.btf_bytes if before.btf_bytes else 0.0
        if _is_over(growth, self.growth):
            yield f"BTF has grown by {growth:.2f} %, and the budget is {self.growth:g} %"
        lost = before.modules - now.modules
        if _is_over(lost, self.lost_modules):
            yield f"{lost} modules fewer, and the budget is {self.lost_modules}"


def _is_over(value: float, budget: float | None) -> bool:
    return budget is not None and value > budget
