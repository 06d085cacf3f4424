# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which build lies in a build directory, as digests of what decides its modules' BTF."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.model.run_record import BuildIdentity, RunRecord
from kbtf_ci.objfile.files import read_kernel_file


def identify(build_dir: Path, release: str) -> BuildIdentity:
    """Return the identity of the finished build in ``build_dir``. Raises UsageError where there is none."""
    return BuildIdentity(
        release=release,
        config_sha256=_sha256(build_dir / ".config"),
        modules_sha256=_sha256(build_dir / "modules.order"),
        btf_sha256=hashlib.sha256(read_kernel_file(build_dir / "vmlinux").btf).hexdigest(),
    )


def require_same(build_dir: Path, found: BuildIdentity, run: RunRecord) -> None:
    """Raise UsageError where ``build_dir`` holds another build than the one that the run was made from.

    A record of an earlier version says only the release and the configuration of its own.
    """
    facts = run.facts
    wanted = run.build or BuildIdentity(release=facts.release, config_sha256=facts.config_sha256)
    for field, what in _WORDS.items():
        before, now = getattr(wanted, field), getattr(found, field)
        if before and before != now:
            raise UsageError(
                f"{build_dir}: holds another build now than this run was made from: {what} differs"
                f" ({_short(before)}, now {_short(now)})",
                hint="kbtf-ci build makes a new run of what is there now",
            )


_WORDS = {
    "release": "the kernel's release",
    "config_sha256": "the configuration",
    "modules_sha256": "the list of modules",
    "btf_sha256": "the BTF of vmlinux",
}


def _short(value: str) -> str:
    return value[:12] if len(value) == hashlib.sha256().digest_size * 2 else value


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
