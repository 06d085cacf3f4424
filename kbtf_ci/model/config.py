# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel's configuration, or a fragment of one, as text (Documentation/kbuild/kconfig.rst)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SET = re.compile(r"CONFIG_(\w+)=(.*)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")


def config_lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line number, symbol without ``CONFIG_``, value); ``n`` for ``is not set``."""
    for number, line in enumerate(text.splitlines(), 1):
        if match := _SET.fullmatch(line.strip()):
            yield number, match[1], match[2]
        elif match := _UNSET.fullmatch(line.strip()):
            yield number, match[1], "n"


def parse_config(text: str) -> dict[str, str]:
    """Return ``CONFIG_X`` to value, as written (``y``, ``m``, ``"text"``), of the symbols that are set."""
    return {f"CONFIG_{symbol}": value for _, symbol, value in config_lines(text) if value != "n"}
