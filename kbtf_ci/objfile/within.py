# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Paths within a folder that is the root of a system of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LINKS: Final = 40  # as many as the kernel follows


def resolve_in(root: Path, name: str) -> Path:
    """Return where ``name`` leads, links followed as a system does whose root is ``root``.

    Nothing leads out of it: what does not end within 40 links is ``root`` itself.
    """
    left, done, links = name.split("/")[::-1], list[str](), 0
    while left:
        part = left.pop()
        if part == "..":
            del done[-1:]
        elif part not in {"", "."}:
            path = root.joinpath(*done, part)
            if not path.is_symlink():
                done.append(part)
                continue
            links += 1
            if links > _LINKS:
                return root
            target = str(path.readlink())
            done = [] if target.startswith("/") else done
            left += target.split("/")[::-1]
    return root.joinpath(*done)
