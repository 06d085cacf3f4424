# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What ``kbtf-ci prune`` found and removed, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from kbtf_ci.model.prune import Decision

_GB: Final = 10**9
# Caches that keep themselves below a limit, and how they are emptied.
BOUNDED: Final[Mapping[str, str]] = {
    "ccache": "at most 20 GB, by ccache itself",
    "btf": "at most 1 GB; `kbtf-ci btf-cache --clear` empties it",
}


def text(decisions: Sequence[Decision], caches: Mapping[str, int], *, dry_run: bool) -> Iterator[str]:
    """Yield a line a piece, the removed ones first, then the caches that are bounded, then the sums."""
    verb = "would go" if dry_run else "removed"
    for decision in sorted(decisions, key=lambda one: (not one.remove, one.item.kind, -one.item.size)):
        item = decision.item
        yield (
            f"{verb if decision.remove else 'stays':<9}{item.kind:<16}{_size(item.size):>9}  "
            f"{item.last_used:%Y-%m-%d}  {item.name}: {item.purpose}; {decision.reason}"
        )
    for name, size in caches.items():
        yield f"{'stays':<9}{'cache':<16}{_size(size):>9}  {'':<10}  {name}: {BOUNDED[name]}"
    going = sum(one.item.size for one in decisions if one.remove)
    staying = sum(one.item.size for one in decisions if not one.remove) + sum(caches.values())
    yield f"{_size(going)} {'would be freed' if dry_run else 'freed'}, {_size(staying)} kept"


def document(
    folder: Path, decisions: Sequence[Decision], caches: Mapping[str, int], *, keep_s: float, dry_run: bool
) -> Mapping[str, object]:
    """Return the JSON document; sizes in bytes, times in UTC, ``keep_s`` in seconds."""
    return {
        "schema": "kbtf-ci/prune/1",
        "folder": str(folder),
        "dry_run": dry_run,
        "keep_s": keep_s,
        "freed_bytes": sum(one.item.size for one in decisions if one.remove),
        "kept_bytes": sum(one.item.size for one in decisions if not one.remove) + sum(caches.values()),
        "items": [
            {
                "kind": one.item.kind.value,
                "name": one.item.name,
                "bytes": one.item.size,
                "last_used": one.item.last_used.isoformat(timespec="seconds"),
                "purpose": one.item.purpose,
                "removed": one.remove,
                "reason": one.reason,
            }
            for one in decisions
        ],
        "caches": [{"name": name, "bytes": size, "limit": BOUNDED[name]} for name, size in caches.items()],
    }


def _size(size: int) -> str:
    return f"{size / _GB:,.2f} GB"
