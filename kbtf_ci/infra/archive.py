# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Small archives of known files: the same content gives the same bytes, and others' are read with care."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Final

from kbtf_ci.errors import UsageError, file_error
from kbtf_ci.infra.whole import whole_file

_EXECUTABLE: Final = 0o755
_PLAIN: Final = 0o644
_PADDING: Final = 1 << 20  # tar fills its last record, of 10 KiB by itself
_PIECE: Final = 1 << 14
_FOLDER: Final = re.compile(r"[A-Za-z0-9_.+~-]{1,200}")


def write_archive(path: Path, folder: str, members: Mapping[str, bytes], executable: Collection[str]) -> None:
    """Write ``members``, in their order, below ``folder`` to a tar archive packed with gzip.

    It has no time, user or host name in it. Raises UsageError where it cannot be written, InfrastructureError
    on a full disk.
    """
    try:
        with (
            whole_file(path) as file,
            gzip.GzipFile("", "wb", 9, file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for name, data in members.items():
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size = len(data)
                entry.mode = _EXECUTABLE if name in executable else _PLAIN
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise file_error(error, path, "cannot be written") from error


def read_archive(path: Path, known: Collection[str], limit: int) -> dict[str, bytes]:
    """Return the files of such an archive by name: all that are ``known``, and none else.

    Nothing is written anywhere. Raises UsageError for what is no such archive: another name, a name twice, a
    link, a device, a path that leads elsewhere, one that is missing, more than ``limit`` bytes in all.
    """
    try:
        with path.open("rb") as file:
            found = _read(file, path, frozenset(known), limit)
    except OSError as error:  # gzip's BadGzipFile among them
        raise file_error(error, path, "cannot be read") from error
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UsageError(f"{path}: no bundle, or one cut short: {error}") from error
    missing = sorted(set(known) - found.keys())
    if missing:
        raise UsageError(f"{path}: it lacks {', '.join(missing)}")
    return found


def _read(file: IO[bytes], path: Path, known: frozenset[str], limit: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    folders: set[str] = set()
    with gzip.GzipFile(fileobj=file) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
        for entry in archive:
            folder, _, name = entry.name.partition("/")
            folders.add(folder)
            if not entry.isreg() or name not in known or name in found or not _one(folders):
                raise UsageError(f"{path}: {entry.name!r} in it is none of a bundle's files")
            limit -= entry.size
            if limit < 0:
                raise UsageError(f"{path}: too large when unpacked; refused")
            content = archive.extractfile(entry)
            found[name] = content.read() if content else b""
        _read_to_the_end(packed)
    return found


def _read_to_the_end(packed: gzip.GzipFile) -> None:
    """Read what is behind the last file: only at its very end does gzip tell that all of it is sound."""
    for _ in range(_PADDING // _PIECE):
        if not packed.read(_PIECE):
            return
    raise ValueError("more behind its files than tar writes")


def _one(folders: set[str]) -> bool:
    return len(folders) == 1 and all(_FOLDER.fullmatch(name) and name.strip(".") for name in folders)
