# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What goes to the probe in the guest, and what it answers (containers/guest/probe.c)."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.image import guest_path
from kbtf_ci.guest.kmsg import Record
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode, Observation

COMMAND = ("/sbin/probe",)
# The probe's word for a module that the guest loaded before it: no load, only what became of its BTF.
_LOOK = "look"
# And for none at all: the log since the last load, once every CPU has given the probe a turn.
_SETTLE = "settle"
SETTLE = f"{_SETTLE} - -"


@dataclass(frozen=True)
class Answer:
    """What one line of the probe says: ``observation`` None for the kernel's log without a load.

    ``before`` are the log records since the answer before it, ``during`` those of the load itself.
    """

    observation: Observation | None
    before: tuple[Record, ...]
    during: tuple[Record, ...] = ()

    @property
    def records(self) -> tuple[Record, ...]:
        """All of them, oldest first."""
        return self.before + self.during


def request(mode: LoadMode, module: Module, present: Collection[str] = ()) -> str:
    """Return the line that asks for one load, or only for a look where the guest has it ``present``."""
    return f"{_LOOK if module.name in present else mode} {module.name} {guest_path(mode, module)}"


def parse(line: str) -> Answer:
    """Return what the probe said in one line.

    Raises InfrastructureError when it is none of the probe's, or names an error of ours: a module that the
    guest cannot read.
    """
    try:
        return _understood(json.loads(line))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InfrastructureError(
            f"the probe in the guest said what is not an answer: {line[:200]!r}"
        ) from error


def _understood(answer: object) -> Answer:
    if not isinstance(answer, dict):
        raise TypeError("no JSON object")
    if "boot_kmsg" in answer:
        return Answer(None, _records(answer["boot_kmsg"]))
    if "error" in answer:
        raise InfrastructureError(_complaint(answer))
    return _answer(answer)


def _answer(answer: dict[str, Any]) -> Answer:
    before, during = _records(answer["kmsg_before"]), _records(answer["kmsg"])
    if answer["mode"] == _SETTLE:
        return Answer(None, before + during)
    btf = answer["btf"] or {}
    observation = Observation(
        name=answer["name"],
        mode=LoadMode.REAL if answer["mode"] == _LOOK else LoadMode(answer["mode"]),
        errno=int(answer["errno"]),
        sysfs_bytes=btf["bytes"] if btf else None,
        sysfs_sha256=btf["sha256"] if btf else None,
        log=tuple(line for record in during for line in record.lines),
        load_us=int(answer["load_us"]),
    )
    return Answer(observation, before, during)


def _records(raw: list[object]) -> tuple[Record, ...]:
    return tuple(Record.parse(str(text)) for text in raw)


def _complaint(answer: dict[str, Any]) -> str:
    about = answer.get("name") or answer.get("line")
    return f"the probe in the guest could not try {about}: {answer['error']} (errno {answer.get('errno', 0)})"
