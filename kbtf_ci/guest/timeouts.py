# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How long the guest may be silent, and how a user says so."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from kbtf_ci.errors import UsageError

_NAMES = ("boot", "ssh", "load")
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|)")
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
# A guess on the safe side, not a measurement: how much longer than in KVM an emulated guest may take.
EMULATION_FACTOR = 5.0

# Seconds since some moment, never going back.
Clock = Callable[[], float]


@dataclass(frozen=True)
class Timeouts:
    """Seconds for one boot up to its SSH server, for one SSH connection, and of silence under one load.

    ``ping`` are those that a guest which fell silent has to show that its kernel lives. ``fixed`` names those
    that the user chose; ``scaled`` leaves them alone. All but ``ping`` are measured by ``clock``.
    """

    boot: float = 60.0
    ssh: float = 20.0
    load: float = 30.0
    ping: float = 10.0
    fixed: frozenset[str] = frozenset()
    clock: Clock = field(default=time.monotonic, compare=False, repr=False)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Timeouts:
        """Return the defaults with ``texts`` such as ``boot=5m`` on top. Raises UsageError."""
        chosen: dict[str, Any] = dict(_parse(text) for text in texts)
        return cls(**chosen, fixed=frozenset(chosen))

    def scaled(self, factor: float) -> Timeouts:
        """Return these with the defaults among them made ``factor`` times as long."""
        longer = {name: getattr(self, name) * factor for name in _NAMES if name not in self.fixed}
        return replace(self, **longer)


def _parse(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    if name not in _NAMES:
        raise UsageError(
            f"there is no timeout {name!r} in {text!r}", hint=f"the timeouts are {', '.join(_NAMES)}"
        )
    match = _DURATION.fullmatch(value)
    seconds = float(match["number"]) * _UNITS[match["unit"]] if match else 0.0
    if not seconds:
        raise UsageError(
            f"{value!r} in {text!r} is not a duration", hint="write it as 90s, 5m or 1h, and above zero"
        )
    return name, seconds


class Deadline:
    """A point in time, ``seconds`` from now on ``clock``."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        self.seconds = seconds
        self.clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - self.clock())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.left == 0.0
