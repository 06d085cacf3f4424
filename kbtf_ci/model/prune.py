# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What of the cache goes and what stays, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# What has no name yet may still get one; no command takes this long to unpack or to bootstrap.
LEFT_OVER_AFTER = timedelta(days=1)


class Kind(StrEnum):
    """What a piece of the cache is."""

    SOURCE = "source"
    DOWNLOAD = "download"
    BUILD = "build"
    PACKAGES = "packages"
    PAHOLE = "pahole"
    BISECT = "bisect"
    PROGRAMS = "programs"
    CELLS = "cells"
    TOOLCHAIN = "toolchain image"
    BASE = "base image"
    LEFT_OVER = "left over"


@dataclass(frozen=True)
class Item:
    """One piece: ``size`` in bytes on disk that go with it, ``last_used`` in UTC, ``purpose`` for people.

    ``in_use`` says that a process has it now, ``current`` that the next run asks for just this one,
    ``discarded`` that an earlier prune took its name away. ``needed_by`` names the pieces made from it.
    """

    kind: Kind
    name: str
    size: int
    last_used: datetime
    purpose: str
    in_use: bool = False
    current: bool = False
    discarded: bool = False
    needed_by: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Decision:
    """Whether a piece goes, and the reason for either."""

    item: Item
    remove: bool
    reason: str


def decide(
    items: Sequence[Item], keep: timedelta, now: datetime, *, everything: bool = False
) -> tuple[Decision, ...]:
    """Return a decision on each of ``items``, in their order.

    What a process has in use stays in any case, and so does what is left of something that stays. Of the rest
    goes what was not used for ``keep``, but for the newest of each kind and what the next run asks for; with
    ``everything`` all of it.
    """
    newest = {id(item) for item in _newest(items)}
    decisions = []
    for item in items:
        if reason := _must_stay(item, now):
            decisions.append(Decision(item, remove=False, reason=reason))
        elif item.kind is Kind.LEFT_OVER:
            decisions.append(Decision(item, remove=True, reason="a command that was killed left it"))
        elif everything:
            decisions.append(Decision(item, remove=True, reason="everything is to go"))
        else:
            reason = _may_stay(item, keep, now, newest=id(item) in newest)
            decisions.append(Decision(item, not reason, reason or f"not used for {days(keep)}"))
    return tuple(_with_what_it_needs(decisions))


def days(age: timedelta) -> str:
    """Return an age in days, or in hours where it is no whole number of them."""
    hours = round(age.total_seconds() / 3600)
    return f"{hours} h" if hours % 24 else f"{hours // 24} d"


def _newest(items: Iterable[Item]) -> Iterable[Item]:
    newest: dict[Kind, Item] = {}
    for item in items:
        if item.kind not in newest or item.last_used > newest[item.kind].last_used:
            newest[item.kind] = item
    return newest.values()


def _must_stay(item: Item, now: datetime) -> str:
    if item.in_use:
        return "in use"
    young = now - item.last_used < LEFT_OVER_AFTER and not item.discarded
    return "may be in the making" if item.kind is Kind.LEFT_OVER and young else ""


def _may_stay(item: Item, keep: timedelta, now: datetime, *, newest: bool) -> str:
    if item.current:
        return "the current one"
    if newest:
        return "the newest of its kind"
    return f"used within {days(keep)}" if now - item.last_used < keep else ""


def _with_what_it_needs(decisions: Sequence[Decision]) -> Iterable[Decision]:
    staying = {decision.item.name for decision in decisions if not decision.remove}
    for decision in decisions:
        dependents = sorted(decision.item.needed_by & staying)
        if decision.remove and dependents:
            yield Decision(decision.item, remove=False, reason=f"{dependents[0]} needs it")
        else:
            yield decision
