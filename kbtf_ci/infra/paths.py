# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where things lie: what ships with kbtf-ci, and what it keeps between runs."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError

_PACKAGE = Path(__file__).resolve().parents[1]
_VARIABLE: Final = "KBTF_CI_CACHE"
_WAY_OUT: Final = f"set {_VARIABLE} to a folder that this user may write to"


def shipped(kind: str) -> Path:
    """Return the folder ``configs`` or ``containers``: of the checkout, else of the installed package."""
    checkout = _PACKAGE.parent / kind
    return checkout if checkout.is_dir() else _PACKAGE / "share" / kind


def cache_root() -> Path:
    """Return the user's cache folder, absolute; it need not be there yet.

    Raises UsageError, naming the variable that leads there, when it is no folder or cannot be written to.
    """
    path = cache_path()
    existing = nearest_existing(path)
    name = f"{_VARIABLE}={os.environ[_VARIABLE]}" if os.environ.get(_VARIABLE) else f"the cache {path}"
    if not existing.is_dir():
        below = "" if existing == path else f" ({existing} is a file)"
        raise UsageError(f"{name}: not a folder{below}", hint=_WAY_OUT)
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{name}: this user cannot write to {existing}", hint=_WAY_OUT)
    return path


def cache_path() -> Path:
    """Return where the cache folder is to be: ``KBTF_CI_CACHE``, else XDG's place for it.

    A relative ``XDG_CACHE_HOME`` does not count (XDG Base Directory Specification). Raises UsageError for a
    user without a home.
    """
    if override := os.environ.get(_VARIABLE):
        return Path(override).absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else _home() / ".cache") / "kbtf-ci"


def shown_path(path: Path) -> str:
    """Return a folder or file as commands are given it: from here where it lies below."""
    here = Path(os.curdir).resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def nearest_existing(path: Path) -> Path:
    """Return ``path``, or what is there of the folders above it."""
    return next(one for one in (path, *path.parents) if os.path.lexists(one))


def _home() -> Path:
    home = Path(os.environ.get("HOME", ""))
    if home.is_absolute():
        return home
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise UsageError(
            f"user {os.getuid()} has no home folder to keep a cache in: HOME is not set", hint=_WAY_OUT
        ) from None
