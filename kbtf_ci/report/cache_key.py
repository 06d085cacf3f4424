# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The keys of caches, for a person, a program, and a step of GitHub Actions."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence

from kbtf_ci.model.cache_key import CacheKey


def text(keys: Sequence[CacheKey]) -> Iterator[str]:
    """Yield the lines that a person reads."""
    for one in keys:
        if one.key is None:
            yield f"{one.name}: none: {one.reason}"
            continue
        yield f"{one.name}: {one.key}{' (grows with each run)' if one.grows else ''}"
        yield f"    of {one.path or f'the image {one.image}'}"
        yield from (f"    else the newest that begins with {prefix}" for prefix in one.restore)


def document(keys: Sequence[CacheKey]) -> Mapping[str, object]:
    """Return the JSON document."""
    return {"schema": "kbtf-ci/cache-key/1", "caches": [_entry(one) for one in keys]}


def _entry(one: CacheKey) -> Mapping[str, object]:
    return {
        "name": one.name,
        "key": one.key,
        "reason": one.reason,
        "restore_keys": list(one.restore),
        "path": str(one.path) if one.path else None,
        "image": one.image or None,
        "grows": one.grows,
    }


def github_outputs(keys: Sequence[CacheKey]) -> Iterator[str]:
    """Yield lines for the file ``GITHUB_OUTPUT``: NAME-key, NAME-restore-keys and NAME-path of each cache.

    Each value stands between lines that nobody can guess (GitHub's "Workflow commands", multiline strings):
    a path may hold anything. The value of what cannot be told is empty.
    """
    for one in keys:
        yield from _output(f"{one.name}-key", one.key or "")
        yield from _output(f"{one.name}-restore-keys", "\n".join(one.restore))
        yield from _output(f"{one.name}-path", str(one.path or ""))
        if one.image:
            yield from _output(f"{one.name}-name", one.image)


def _output(name: str, value: str) -> Iterator[str]:
    delimiter = f"kbtf-ci-{secrets.token_hex(16)}"
    yield from (f"{name}<<{delimiter}", value, delimiter)
