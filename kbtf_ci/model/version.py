# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Versions by which kernels and libraries are told apart: major and minor. Pure."""

from __future__ import annotations

import re

Version = tuple[int, int]


def parse_version(text: str) -> Version | None:
    """Return (major, minor) of a release such as ``6.12.107+deb13-amd64``; None if it does not start so."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def shown(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))
