# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which engine runs the commands of a call: a container engine, or the environment that kbtf-ci is called in.

Like the cache and the container engine's address, it is chosen by the environment, for a call as a whole.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Final

from kbtf_ci.errors import UsageError

VARIABLE: Final = "KBTF_CI_ENGINE"


class EngineKind(StrEnum):
    """What ``--engine`` takes."""

    CONTAINER = "container"
    HOST = "host"


def choose(kind: EngineKind) -> None:
    """Choose for the rest of this process, and for those that it starts."""
    if os.environ.get(VARIABLE, EngineKind.CONTAINER) != kind:
        os.environ[VARIABLE] = kind.value


def chosen() -> EngineKind:
    """Return what is chosen, a container engine where nothing is. Raises UsageError for what is no engine."""
    value = os.environ.get(VARIABLE) or EngineKind.CONTAINER.value
    try:
        return EngineKind(value)
    except ValueError:
        known = ", ".join(EngineKind)
        raise UsageError(f"{VARIABLE}={value}: no such engine", hint=f"known are {known}") from None
