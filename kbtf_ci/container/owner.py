# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Who a container belongs to: labels that tell whether the process that started it still lives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

RUN = "kbtf-ci.run"
PID = "kbtf-ci.pid"
LABEL = "kbtf-ci.label"
_ENDED = ("Z", "X")  # proc(5), field 3: nobody has asked yet how it ended


def labels(run: str, label: str) -> dict[str, str]:
    """Return the labels of a container that this process starts."""
    return {RUN: run, PID: identity(os.getpid()), LABEL: label}


def identity(pid: int) -> str:
    """Return ``<pid namespace>/<pid>/<start time>`` of a process; "" where there is none, or it has ended.

    The start time, in clock ticks since boot (proc(5), field 22), tells a process from a later one with
    the same number; the namespace tells it from one in another container that shares the engine.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # Field 2 is the command's name in brackets and may hold blanks and brackets itself.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in _ENDED:
        return ""
    started = fields[19]
    return f"{_namespace()}/{pid}/{started}"


def orphaned(container_labels: Mapping[str, str]) -> bool:
    """Return whether the labels name a process of this PID namespace that has ended."""
    owner = container_labels.get(PID, "")
    namespace, _, rest = owner.partition("/")
    pid = rest.partition("/")[0]
    return namespace == _namespace() and pid.isdigit() and identity(int(pid)) != owner


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)
