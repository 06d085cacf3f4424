# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""An initramfs taken apart."""

from __future__ import annotations

import stat
from pathlib import PurePosixPath


def read_archives(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Unpack as init/initramfs.c does: zeros between archives are skipped, a header is at a multiple of 4."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while at < len(data):
        if data[at] == 0:
            at += 1
            continue
        assert at % 4 == 0
        header = data[at : at + 110]
        assert header[:6] == b"070701"
        fields = [int(header[6 + 8 * i : 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size - 1].decode()
        assert data[at + 110 + name_size - 1] == 0
        at = (at + 110 + name_size + 3) & ~3
        content = data[at : at + size]
        assert len(content) == size
        at = (at + size + 3) & ~3
        if name != "TRAILER!!!":
            parent = str(PurePosixPath(name).parent)
            assert parent == "." or stat.S_ISDIR(found[parent][0]), f"{name} comes before its folder"
            found[name] = (mode, content)
    return found
