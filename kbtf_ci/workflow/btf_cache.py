# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci btf-cache``: what the cache of modules' BTF holds, and emptying it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kbtf_ci.kernel import btfcache
from kbtf_ci.kernel.btfcache import DEFAULT_MIB, CacheStats
from kbtf_ci.workflow import workspace


@dataclass(frozen=True)
class Surveyed:
    """What the cache holds now; ``removed`` counts the entries that were taken out."""

    stats: CacheStats
    removed: int = 0

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        if self.removed:
            yield f"removed {self.removed} entries"
        stats = self.stats
        yield (
            f"{stats.folder}: BTF of {stats.entries} modules, {stats.disk_bytes / (1 << 20):.1f} MiB on disk "
            f"of at most {DEFAULT_MIB}"
        )
        if stats.corrupt:
            yield f"{stats.corrupt} entries fail their checksum: they count as missing and are written again"

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        stats = self.stats
        return {
            "schema": "kbtf-ci/btf-cache/1",
            "folder": str(stats.folder),
            "entries": stats.entries,
            "disk_bytes": stats.disk_bytes,
            "max_bytes": DEFAULT_MIB << 20,
            "corrupt": stats.corrupt,
            "spoilt": stats.corrupt,
            "removed": self.removed,
        }


def show() -> Surveyed:
    """Return what the cache holds. Raises InfrastructureError when it cannot be read."""
    return Surveyed(btfcache.survey(workspace.btf_cache()))


def clear() -> Surveyed:
    """Empty the cache, and return what it holds then."""
    folder = workspace.btf_cache()
    removed = btfcache.clear(folder)
    return Surveyed(btfcache.survey(folder), removed)
