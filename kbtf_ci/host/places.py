# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where on this machine the places lie that a command names.

A place is replaced where it is a word, begins one as a folder does (/build/vmlinux), or stands so behind the
name of a variable or option (O=/build, --file=/build/x): nothing is looked for within a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_WORD = re.compile(r"(-{0,2}[A-Za-z_][\w-]*=)?(/.*)", re.DOTALL)


def on_host(word: str, places: Mapping[str, Path]) -> str:
    """Return ``word`` with the path of this machine for the innermost of ``places`` that it names."""
    match = _WORD.fullmatch(word)
    if match is None:
        return word
    name, path = match[1] or "", match[2]
    for target in sorted(places, key=len, reverse=True):
        if path == target or path.startswith(f"{target}/"):
            return f"{name}{places[target]}{path[len(target) :]}"
    return word


def nested(targets: list[str]) -> str:
    """Return a target that lies within another one, "" for none."""
    return next((one for one in targets for other in targets if one.startswith(f"{other}/")), "")
