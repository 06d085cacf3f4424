# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci cache-key``: what a restored cache has to agree in, told without engine and network.

A key is for use, not for safety. Whatever is restored says itself what it is: images are named by their
recipe, downloads are held to their sha256, ccache and the cache of modules' BTF look up by content.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from kbtf_ci.container.image import image_name
from kbtf_ci.errors import file_error
from kbtf_ci.infra.paths import cache_path
from kbtf_ci.infra.profiles import Profile, profile_of
from kbtf_ci.kernel.source import checked_digest, download_of
from kbtf_ci.model.cache_key import CacheKey, safe_word
from kbtf_ci.model.options import BuildOptions

_PREFIX: Final = "kbtf-ci"
_DIGITS: Final = 12


def cache_keys(options: BuildOptions) -> tuple[CacheKey, ...]:
    """Return the keys of the toolchain image, the kernel's source, ccache and modules' BTF, in this order.

    Raises UsageError for a suite, profile or digest that is none.
    """
    root = cache_path()
    profile = profile_of(options)
    return (
        _image(options),
        _source(options, root / "source"),
        _growing("ccache", root / "ccache", profile, options),
        _growing("btf", root / "btf", profile, options)
        if options.btf_cache
        else CacheKey("btf", reason="modules' BTF is kept with --btf-cache alone"),
    )


def _image(options: BuildOptions) -> CacheKey:
    name = image_name(options.suite)
    return CacheKey("image", f"{_PREFIX}-image-{name.rpartition(':')[2]}", image=name)


def _source(options: BuildOptions, folder: Path) -> CacheKey:
    """Of the suite's package only the image tells the version; to unpack it takes half a minute."""
    if not options.directory:
        return CacheKey("source", reason="only the toolchain image tells which kernel is the suite's")
    if not options.directory.startswith(("https://", "http://")):
        return CacheKey("source", reason="the kernel's source is on this machine")
    digest = checked_digest(options.directory, options.sha256)
    return CacheKey("source", f"{_PREFIX}-source-{digest}", path=download_of(folder, digest))


def _growing(name: str, folder: Path, profile: Profile, options: BuildOptions) -> CacheKey:
    """Objects, and modules' BTF: those of the same suite and configuration, else of the same suite.

    The suite stands for compiler and pahole, whose exact versions only the image tells. Both caches know them
    by content: after an update there is less to find, and nothing wrong.
    """
    suite = f"{_PREFIX}-{name}-{options.suite}-"
    same_profile = f"{suite}{safe_word(profile.name)}-"
    key = f"{same_profile}{_digest(profile, options)}"
    return CacheKey(name, key, (same_profile, suite), path=folder, grows=True)


def _digest(profile: Profile, options: BuildOptions) -> str:
    """Return what tells this configuration from others, by content: a checkout may lie anywhere."""
    files = [*profile.fragments, *([profile.config_file] if profile.config_file else [])]
    asked = [profile.target, *map(_content, files), options.added, options.variables, options.toolchain]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:_DIGITS]


def _content(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise file_error(error, str(path), "cannot be read") from error
