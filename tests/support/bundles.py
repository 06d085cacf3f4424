# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Bundles taken apart and put together, changed in between."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kbtf_ci.infra.archive import read_archive, write_archive
from kbtf_ci.model.bundle import MANIFEST, MEMBERS, SCHEMA

MANIFEST_VALUES: Mapping[str, Any] = {
    "schema": SCHEMA,
    "kbtf_ci": "0.1",
    "module": {"name": "xfs", "file": "kernel/fs/xfs/xfs.ko", "btf_bytes": 7, "btf_sha256": "ab"},
    "kernel": {"release": "6.12.1", "architecture": "x86_64"},
    "outcome": "REJECTED",
    "errno": 22,
    "log": ["failed to validate module [xfs] BTF: -22"],
    "memory_mib": 768,
}


def made_up(path: Path, **values: object) -> Path:
    """Write a bundle whose files hold their own names, with ``values`` in its manifest."""
    members = {name: name.encode() for name in MEMBERS if name != MANIFEST}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    manifest = json.dumps({**MANIFEST_VALUES, "digests": digests, **values}).encode()
    write_archive(path, "kbtf-xfs-6.12.1", {MANIFEST: manifest, **members}, ())
    return path


def altered(path: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Write a bundle to ``target`` with another manifest: ``change`` is given its values."""
    members = read_archive(path, MEMBERS, 1 << 30)
    values = json.loads(members[MANIFEST])
    change(values)
    members[MANIFEST] = json.dumps(values).encode()
    write_archive(target, "altered", members, ())
    return target
