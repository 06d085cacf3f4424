# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a CI service's cache is kept under, so that one is restored only where it is of use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# actions/cache takes no comma and 512 characters; others take less than any file name may have.
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_LENGTH: Final = 40


@dataclass(frozen=True)
class CacheKey:
    """One thing that may be kept between jobs: a ``path``, or an ``image`` of the container engine.

    ``key`` is None where there is nothing to keep, and ``reason`` says why. ``restore`` are beginnings of
    other keys whose content is of some use, the best first. What ``grows`` has more in it after each run: a
    service that never overwrites needs a word of its own behind the key, as the number of the run.
    """

    name: str
    key: str | None = None
    restore: tuple[str, ...] = ()
    path: Path | None = None
    image: str = ""
    grows: bool = False
    reason: str = ""


def safe_word(text: str) -> str:
    """Return a user's name for something as a part of a key: what no service stumbles over, and short."""
    return _UNSAFE.sub("_", text)[:_NAME_LENGTH]
