# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci pahole-wrapper``: what stands before pahole in images, for a kernel developer's own make."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kbtf_ci.host import wrapper
from kbtf_ci.infra.record import Reporter


def install(folder: Path, reporter: Reporter) -> Iterator[str]:
    """Make the wrapper and its server, put them into ``folder``, and yield how make is told of it.

    Where this machine's pahole cannot be a server that is a warning: the wrapper then only passes calls on.
    """
    reporter.stage("pahole-wrapper")
    done = wrapper.install(folder)
    if done.no_server:
        reporter.warn(f"pahole {done.pahole} writes each module by itself, no server does: {done.no_server}")
    yield f"make PAHOLE={done.program}"
