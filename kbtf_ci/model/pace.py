# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How long the rest of an amount takes, judged by how fast it went lately."""

from __future__ import annotations

from collections import deque
from typing import Final

# Before both, nothing is said: what a few steps in the first seconds took says little of all the others.
_AFTER_S: Final = 10.0
_AFTER_FRACTION: Final = 0.02
# Steps differ along a build, in what they are as in what they cost: it is the later half of the time that
# counts, and of a short time all.
_RECENT_S: Final = 30.0
_BETWEEN_S: Final = 1.0


class Pace:
    """How an amount has grown; a smaller or another amount than before begins anew."""

    def __init__(self) -> None:
        self._began = (0.0, 0)
        self._total = 0
        self._seen: deque[tuple[float, int]] = deque()

    def remaining_s(self, now: float, done: int, total: int) -> float | None:
        """Take that ``done`` of ``total`` are done, and return how many seconds the rest takes.

        ``now`` is of any clock, in seconds. None where that cannot be said: too early, with nothing done
        lately, with nothing left.
        """
        self._take(now, done, total)
        started, first = self._began
        if now - started < _AFTER_S or done - first < _AFTER_FRACTION * (total - first):
            return None
        since, before = self._recent(now)
        if done <= before or done >= total:
            return None
        return (total - done) * (now - since) / (done - before)

    def _take(self, now: float, done: int, total: int) -> None:
        if total != self._total or not self._seen or done < self._seen[-1][1]:
            self._began, self._total = (now, done), total
            self._seen = deque([self._began])
        elif now - self._seen[-1][0] >= _BETWEEN_S:
            self._seen.append((now, done))

    def _recent(self, now: float) -> tuple[float, int]:
        """Return when what counts began, and how much there was then."""
        begin = now - max(_RECENT_S, (now - self._began[0]) / 2)
        while len(self._seen) > 1 and self._seen[1][0] <= begin:
            self._seen.popleft()
        return self._seen[0]
