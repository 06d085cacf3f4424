# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Waiting for what has to come, on a machine that may have much else to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 300.0
_POLL_S = 0.01
T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """Return the first true value of ``condition``; a test fails that has none after so many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"nothing after {seconds:g} s: {condition}"
        time.sleep(_POLL_S)
    return value
