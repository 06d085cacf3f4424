# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What kind of archive a file is, by how it begins: its name says nothing."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.objfile.compression import first_bytes, format_of

# Enough of any compression for its first block: zstd's are of 128 KiB at most.
_HEAD: Final = 1 << 19
_DEB: Final = b"!<arch>\n"
_RPM: Final = b"\xed\xab\xee\xdb"
# apk-tools' doc/apk-v3.5.scd: "ADB." as it is, "ADBd" and "ADBc" compressed.
_APK_3: Final = (b"ADB.", b"ADBd", b"ADBc")
_TAR: Final = (257, b"ustar")
_CPIO: Final = (b"070701", b"070702", b"070707")


class Kind(Enum):
    """The archives that a kernel comes in; packages of Arch and of Alpine are tarballs."""

    DEB = "deb"
    RPM = "rpm"
    TAR = "tar"
    CPIO = "cpio"


def kind_of(path: Path) -> Kind | None:
    """Return the kind of archive that the file is, None for what is none.

    Raises UsageError when it cannot be read, and for Alpine's packages of version 3.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
    if head.startswith(_APK_3):
        raise UsageError(
            f"{path}: a package of apk's version 3 (ADB), which is not read",
            hint="unpack it with `apk extract --allow-untrusted`, and name the folder",
        )
    if head.startswith(_DEB):
        return Kind.DEB
    if head.startswith(_RPM):
        return Kind.RPM
    form = format_of(head)
    at, magic = _TAR
    inner = first_bytes(memoryview(head), form, at + len(magic)) if form else head
    if inner[at : at + len(magic)] == magic:
        return Kind.TAR
    return Kind.CPIO if inner.startswith(_CPIO) else None
