# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where things lie: what ships with kbtf-ci, and what it keeps between runs."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped(kind: str) -> Path:
    """Return the folder ``configs`` or ``containers``: of the checkout, else of the installed package."""
    checkout = _PACKAGE.parent / kind
    return checkout if checkout.is_dir() else _PACKAGE / "share" / kind


def cache_root() -> Path:
    """Return the user's cache folder: ``KBTF_CI_CACHE``, else XDG's place for it."""
    if override := os.environ.get("KBTF_CI_CACHE"):
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kbtf-ci"
