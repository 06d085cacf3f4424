# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci repro replay``: a bundle's kernel booted here, and what it says held against what was recorded.

A bundle may come from anybody: no script of it is run, and its kernel only in a guest without a network.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kbtf_ci.errors import ExitCode, UsageError
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.replay import BundleGuest
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.infra.archive import read_archive
from kbtf_ci.infra.record import Reporter
from kbtf_ci.model import bundle as names
from kbtf_ci.model.bundle import Bundle, Seen, differences
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.report import bundle as report
from kbtf_ci.workflow.workspace import toolchain, tools_of_machine

_LIMIT = 1 << 30  # bytes of all files: an image of a distribution with its initramfs has a tenth of that


@dataclass(frozen=True)
class Replayed:
    """What a bundle records, what was seen here, and in what the two differ, a line each."""

    bundle: Bundle
    seen: Seen
    differences: tuple[str, ...]
    accel: str

    @property
    def exit_code(self) -> ExitCode:
        """0 when the kernel did as recorded, else 1."""
        return ExitCode.NOT_VERIFIED if self.differences else ExitCode.VERIFIED

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.replay(self.bundle, self.seen, self.differences)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return report.replay_document(self.bundle, self.seen, self.differences, self.accel)


def read_bundle(path: Path) -> tuple[Bundle, Mapping[str, bytes]]:
    """Return a bundle and its files by name. Raises UsageError for what is none, whatever is in it."""
    members = read_archive(path, names.MEMBERS, _LIMIT)
    try:
        values = json.loads(members[names.MANIFEST])
        schema = values["schema"]
        if schema != names.SCHEMA:
            raise UsageError(f"{path}: a bundle of schema {schema!r}; this kbtf-ci reads {names.SCHEMA}")
        bundle = Bundle.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: {names.MANIFEST}: {where}: {first['msg']}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: {names.MANIFEST} in it is no bundle's") from error
    for name in names.MEMBERS:
        if name != names.MANIFEST and bundle.digests.get(name) != hashlib.sha256(members[name]).hexdigest():
            raise UsageError(f"{path}: {name} in it is not what it was when the bundle was made")
    return bundle, members


def replay(path: Path, suite: str, accel: Accel, timeouts: Timeouts, reporter: Reporter) -> Replayed:
    """Boot a bundle's kernel, load its module, and compare.

    Raises UsageError for a bundle that is refused, GuestError for a guest that ends early, and
    InfrastructureError.
    """
    bundle, members = read_bundle(path)
    reporter.stage("toolchain")
    machine = machine_of(bundle.kernel.architecture, str(path))
    runner = tools_of_machine(toolchain(suite, reporter), machine, reporter).runner
    reporter.stage("guest")
    with tempfile.TemporaryDirectory(prefix="kbtf-ci-replay-") as name:
        guest = BundleGuest(runner, Path(name), bundle.memory_mib, timeouts, machine)
        guest.place(members[names.KERNEL], members[names.INITRAMFS])
        seen, used = guest.observe(accel, reporter.warn)
    return Replayed(bundle, seen, tuple(differences(bundle.seen, seen)), used.value)
