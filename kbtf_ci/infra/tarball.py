# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A source as a tarball, unpacked with care."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from pathlib import Path

from kbtf_ci.errors import UsageError, file_error


def is_tarball(path: Path) -> bool:
    """Return whether a file is a tar archive, packed or not, as far as its beginning says."""
    try:
        return path.is_file() and tarfile.is_tarfile(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return False


def extract(tarball: Path, folder: Path, origin: str) -> Path:
    """Unpack a tarball into an empty folder, and return its top: the one folder in it, or that itself.

    Members that would land outside of it are refused (tarfile's ``data`` filter). Raises UsageError, which
    names ``origin``, and InfrastructureError for a full disk.
    """
    try:
        with tarfile.open(tarball) as archive:
            archive.extractall(folder, filter="data")
        entries = list(folder.iterdir())
    except tarfile.FilterError as error:
        raise UsageError(f"{origin}: unsafe archive member refused: {error}") from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UsageError(f"{origin}: not a readable tar archive: {error}") from error
    except OSError as error:
        raise file_error(error, origin, "cannot be unpacked") from error
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else folder
