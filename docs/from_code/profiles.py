# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The keys of a profile file, and the profiles and fragments that ship."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from itertools import takewhile

from docs.from_code.markdown import code, plain, table
from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.profiles import find_profile, known_profiles, profile_keys
from kbtf_ci.model.config import config_lines


def keys() -> Iterator[str]:
    """Yield the table of a profile's keys."""
    yield from table(
        ("key", "value", "without it", "meaning"),
        (
            (code(one.name), plain(one.type), code(one.default) if one.default else "-", plain(one.meaning))
            for one in profile_keys()
        ),
    )


def profiles() -> Iterator[str]:
    """Yield the table of the profiles that ship."""
    rows = []
    for name in known_profiles():
        raw = tomllib.loads((shipped("configs") / f"{name}.toml").read_text())
        profile = find_profile(name)
        guest = f"{profile.memory_mib} MiB, {profile.cpus} CPUs"
        fragments = ", ".join(code(path.name) for path in profile.fragments)
        rows.append((code(name), plain(raw["description"]), code(profile.target), fragments, guest))
    yield from table(("profile", "what it is", "target", "fragments, in order", "guest"), rows)


def fragments() -> Iterator[str]:
    """Yield the table of the fragments that ship: how many symbols each sets, and its own first words."""
    rows = []
    for path in sorted(shipped("configs").glob("*.config")):
        text = path.read_text()
        rows.append((code(path.name), str(len(list(config_lines(text)))), plain(_first_words(text))))
    yield from table(("fragment", "symbols", "what it is for"), rows)


def _first_words(text: str) -> str:
    comment = takewhile(lambda line: line.startswith("#"), text.splitlines())
    words = " ".join(line.lstrip("# ") for line in comment if "SPDX-" not in line and "CONFIG_" not in line)
    return words.partition(". ")[0].rstrip(".")
