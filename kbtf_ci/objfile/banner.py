# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel's constants say of it: its version, and its configuration where it holds that."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kbtf_ci.model.config import parse_config
from kbtf_ci.objfile.compression import GZIP, Buffer, decompress

_CONFIG_LIMIT = 64 << 20
# init/version-timestamp.c, linux_banner; a driver's format string has no digit there.
_START = b"Linux version "
_BANNER = re.compile(rb"Linux version [0-9][^\0\n]{0,1000}")
_CONFIG_START, _CONFIG_END = b"IKCFG_ST", b"IKCFG_ED"  # kernel/configs.c


def linux_banner(data: Buffer, start: int = 0, end: int | None = None) -> str:
    """Return linux_banner without its newline, "" where there is none between two places of the file."""
    return max(_banners(data, start, len(data) if end is None else end), key=len, default=b"").decode(
        errors="replace"
    )


def _banners(data: Buffer, start: int, end: int) -> Iterator[bytes]:
    with memoryview(data) as view:
        at = data.find(_START, start, end)
        while at >= 0:
            found = _BANNER.match(view, at, end)
            if found:
                yield found.group()
            del found  # it holds the view
            at = data.find(_START, at + 1, end)


def embedded_config(data: Buffer, name: str, start: int = 0, end: int | None = None) -> dict[str, str] | None:
    """Return the configuration between two places of the file (CONFIG_IKCONFIG), None where there is none.

    ``name`` is for messages. Raises UsageError when it cannot be unpacked.
    """
    end = len(data) if end is None else end
    begin = data.find(_CONFIG_START + GZIP.magic, start, end)
    if begin < 0:
        return None
    begin += len(_CONFIG_START)
    stop = data.find(_CONFIG_END, begin, end)
    packed = data[begin : stop if stop >= 0 else end]
    text = decompress(packed, GZIP, f"{name}: its embedded configuration", _CONFIG_LIMIT)
    return parse_config(text.decode(errors="replace"))
