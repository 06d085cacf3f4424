# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Archives of the ``newc`` format, written as a stream.

Documentation/driver-api/early-userspace/buffer-format.rst: the kernel unpacks several archives one behind
the other, as long as each begins at a multiple of four bytes.
"""

from __future__ import annotations

import shutil
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"


class CpioWriter:
    """Writes one archive to ``stream``, from its present position on; owner root, time 0."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._inode = 0
        self._written = 0
        self._folders: set[PurePosixPath] = set()

    def folder(self, path: PurePosixPath, mode: int = 0o755) -> None:
        """Add a folder, and the folders above it that this archive has not got yet.

        The kernel makes none by itself. One that an earlier archive has is left as it is.
        """
        for folder in [*reversed(path.parents), path]:
            if folder != PurePosixPath() and folder not in self._folders:
                self._folders.add(folder)
                self._header(str(folder), stat.S_IFDIR | (mode if folder == path else 0o755), 0)

    def data(self, path: PurePosixPath, content: bytes, mode: int) -> None:
        """Add a file of these bytes; its folder must be there."""
        self._header(str(path), stat.S_IFREG | mode, len(content))
        self._write(content)
        self._pad()

    def file(self, path: PurePosixPath, source: Path, mode: int = 0o644) -> None:
        """Add the host's file ``source``; its folder must be there."""
        size = source.stat().st_size
        self._header(str(path), stat.S_IFREG | mode, size)
        with source.open("rb") as content:
            shutil.copyfileobj(content, self._stream, 1 << 20)
        self._written += size
        self._pad()

    def close(self) -> None:
        """Write the end of the archive."""
        self._inode = -1
        self._header(_TRAILER, 0, 0)

    def _header(self, name: str, mode: int, size: int) -> None:
        self._inode += 1
        encoded = name.encode() + b"\0"
        # inode, mode, uid, gid, links, mtime, file size, device (2), rdev (2), name size, checksum
        fields = (self._inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(encoded), 0)
        self._write(_MAGIC + b"".join(b"%08X" % field for field in fields) + encoded)
        self._pad()

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._written += len(data)

    def _pad(self) -> None:
        self._write(bytes(-self._written % 4))
