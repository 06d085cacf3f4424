# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The image's own programs (containers/*.c), made by the image's own recipe, with sanitizers in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.runner import Command, Completed, Mount, Runner, run

# -O1: much below is optimised to where a sanitizer sees nothing, or not enough for -Wall to see its part.
SANITIZE = "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"

# For tests that say whether the programs as shipped do their work at all.
SHIPPED = pytest.mark.parametrize("programs", ["shipped", "sanitized"], indirect=True)

_SOURCE, _OUT, _REPORTS = "/containers", "/out", "/reports"
_STATUS = 99  # no program here ends with it of its own


def build(runner: Runner, folder: Path, flags: str = SANITIZE) -> Completed:
    """Make the programs in ``folder`` from this checkout's sources, in a container of the image."""
    variables = (f"O={_OUT}", f"CFLAGS={flags}", "GUEST_LDFLAGS=")
    mounts = (Mount(shipped("containers"), _SOURCE), Mount(folder, _OUT, writable=True))
    return run(runner, Command(("make", "-f", f"{_SOURCE}/Makefile", *variables), mounts))


@dataclass(frozen=True)
class Programs:
    """Those of the image as shipped, or such as ``folder`` holds; sanitizers report into ``reports``."""

    folder: Path | None = None
    reports: Path | None = None

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What puts them into the place of the image's."""
        if self.folder is None or self.reports is None:
            return ()
        names = ("kbtf-ci-pahole", "kbtf-ci-account")
        own = (Mount(self.folder / name, f"/usr/bin/{name}") for name in names)
        return (*own, Mount(self.reports, _REPORTS, writable=True))

    @property
    def environment(self) -> Mapping[str, str]:
        """What has sanitizers write into ``reports``, where no exit status can hide them."""
        options = f"log_path={_REPORTS}/report:exitcode={_STATUS}"
        # A test may have a library loaded before the sanitizer's own.
        return {"ASAN_OPTIONS": f"{options}:verify_asan_link_order=0", "UBSAN_OPTIONS": options}

    def check(self) -> None:
        """Fail with the first report that a sanitizer has written."""
        reports = [] if self.reports is None else sorted(self.reports.iterdir())
        assert not reports, reports[0].read_text(errors="replace")


@dataclass
class Bench:
    """A folder, seen as /bench by commands in the image, with the programs under test in it."""

    runner: Runner
    folder: Path
    programs: Programs = field(default_factory=Programs)
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self, *argv: str, **env: str) -> Completed:
        """Run a command in the folder, and fail on any sanitizer's report."""
        mounts = (Mount(self.folder, "/bench", writable=True), *self.mounts, *self.programs.mounts)
        values = {**self.env, **self.programs.environment, **env}
        done = run(self.runner, Command(argv, mounts, values, workdir="/bench"))
        self.programs.check()
        return done

    def sh(self, script: str, **env: str) -> Completed:
        """Run a shell's script likewise."""
        return self.run("sh", "-c", script, **env)
