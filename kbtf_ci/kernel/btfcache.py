# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The program that stands in the place of pahole: it remembers modules' BTF, or asks a server for it.

It is containers/btfcache.c with containers/btfserver/, in the image. kbuild is told of it by its own PAHOLE=.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.runner import SCRATCH, Mount

PROGRAM = "/usr/bin/kbtf-ci-pahole"
DEFAULT_MIB = 1024

_CACHE = "/btf-cache"
_SOCKETS = f"{SCRATCH}/btf-server"
_SHARD = "[0-9a-f][0-9a-f]"
_KEY = re.compile("[0-9a-f]{64}")

# pahole's code is in its file and in the libraries that the dynamic linker names; a version alone does not
# tell a patched pahole from an unpatched one. Worked out once for each make, not for each module.
_IDENTIFY = (
    'p=$(command -v -- "${KBTF_CI_PAHOLE:-pahole}") && KBTF_CI_PAHOLE_ID=$({ "$p" --version; cat "$p" '
    '$(LD_TRACE_LOADED_OBJECTS=1 "$p" | grep -o "/[^ ]*"); } 2>&1 | sha256sum) && export KBTF_CI_PAHOLE_ID; '
    'exec "$@"'
)


@dataclass(frozen=True)
class Wrapper:
    """How the wrapper works: the folder it caches in, None for none, and the MiB that this may hold.

    With ``server`` a process that has parsed vmlinux's BTF once writes the BTF of every module that is not in
    the cache; it ends with the command.
    """

    cache: Path | None = None
    max_mib: int = DEFAULT_MIB
    server: bool = False

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What it must see."""
        return () if self.cache is None else (Mount(self.cache, _CACHE, writable=True),)

    def environment(self, pahole: str) -> Mapping[str, str]:
        """Return its variables; ``pahole`` is the real one."""
        values = {"KBTF_CI_PAHOLE": pahole}
        if self.cache is not None:
            values["KBTF_CI_BTF_CACHE"] = _CACHE
            values["KBTF_CI_BTF_CACHE_MAX"] = str(self.max_mib << 20)
        if self.server:
            values["KBTF_CI_BTF_SERVER"] = _SOCKETS
        return values

    def launch(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command line that finds out which pahole it is and then becomes ``argv``."""
        return argv if self.cache is None else ("sh", "-c", _IDENTIFY, "sh", *argv)


@dataclass(frozen=True)
class CacheStats:
    """What a cache folder holds: modules' entries, their bytes on disk, and how many of them are sound."""

    folder: Path
    entries: int
    disk_bytes: int
    corrupt: int


def survey(folder: Path) -> CacheStats:
    """Look through a cache folder, reading every entry's checksum; an absent folder holds nothing.

    Builds may be at work in it: what one removes meanwhile was not there, and what one is writing takes room
    but is no entry yet.
    """
    entries = corrupt = disk = 0
    for path in folder.glob(f"{_SHARD}/*"):
        try:
            disk += path.stat().st_blocks * 512
            if _is_entry(path):
                corrupt += not _is_sound(path)
                entries += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InfrastructureError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return CacheStats(folder, entries, disk, corrupt)


def clear(folder: Path) -> int:
    """Remove every entry and return how many there were; a build under way only misses them."""
    removed = 0
    for path in (*folder.glob(f"{_SHARD}/*"), *folder.glob("base/*")):
        path.unlink(missing_ok=True)
        removed += _is_entry(path)
    return removed


def _is_entry(path: Path) -> bool:
    """Tell an entry from a memo, and from a file that is to become one (replace_file() of btfcache.c)."""
    return path.parent.name == path.name[:2] and _KEY.fullmatch(path.name) is not None


def _is_sound(entry: Path) -> bool:
    """Hold an entry to its checksum as the wrapper does: struct header, digest_entry() of btfcache.c."""
    data = entry.read_bytes()
    magic, sizes, digest, rest = data[:16], data[16:32], data[32:64], data[64:]
    btf, base = int.from_bytes(sizes[:8], "little"), int.from_bytes(sizes[8:], "little")
    if magic != b"kbtf-ci BTF 1\n\0\0" or btf + base != len(rest):
        return False
    parts = (entry.name.encode(), rest[:btf], rest[btf:])
    told = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return hashlib.sha256(told).digest() == digest
