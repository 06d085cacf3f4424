# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A suspected cause while it is being judged, and how several of one class become one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from kbtf_ci.model.symptom import Cause, Likelihood, Line
from kbtf_ci.symptoms.causes import CLASSES
from kbtf_ci.symptoms.evidence import Refused

_ORDER: Final = (Likelihood.SHOWN, Likelihood.LIKELY, Likelihood.POSSIBLE, Likelihood.HARMLESS)
_QUOTED_LINES: Final = 8
_NAMED_MODULES: Final = 200


@dataclass(frozen=True)
class Suspect:
    """One class that is thought of for one reason."""

    number: int
    likelihood: Likelihood
    why: str
    lines: tuple[Line, ...] = ()
    modules: tuple[str, ...] = ()


def ranked(suspects: Iterable[Suspect]) -> tuple[Cause, ...]:
    """Return one cause a class, the likeliest first; among equals the one that was thought of first."""
    by_class: dict[int, list[Suspect]] = {}
    for one in suspects:
        by_class.setdefault(one.number, []).append(one)
    causes = [_cause(number, group) for number, group in by_class.items()]
    return tuple(sorted(causes, key=lambda cause: _ORDER.index(cause.likelihood)))


def _cause(number: int, suspects: list[Suspect]) -> Cause:
    known = CLASSES[number]
    suspects = sorted(suspects, key=lambda one: _ORDER.index(one.likelihood))
    lines = dict.fromkeys(line for one in suspects for line in one.lines)
    return Cause(
        number=number,
        name=known.name,
        likelihood=suspects[0].likelihood,
        why=tuple(dict.fromkeys(one.why for one in suspects)),
        way_out=known.way_out,
        tells_apart=known.tells_apart,
        lines=tuple(lines)[:_QUOTED_LINES],
        modules=tuple(dict.fromkeys(name for one in suspects for name in one.modules))[:_NAMED_MODULES],
        boots=tuple(sorted({line.boot for line in lines})),
    )


def lines_of(refused: list[Refused]) -> tuple[Line, ...]:
    """Return the lines of the first of them."""
    return tuple(line for one in refused[:3] for line in one.lines)


def names_of(refused: list[Refused]) -> tuple[str, ...]:
    """Return the modules' names, once each."""
    return tuple(dict.fromkeys(one.module for one in refused if one.module))
