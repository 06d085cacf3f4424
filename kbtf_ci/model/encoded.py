# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What came of modules that were to be given their split BTF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Route(StrEnum):
    """Who wrote a module's BTF: a server, pahole itself where none would, or pahole alone, as asked."""

    SERVED = "served"
    FALLBACK = "fallback"
    ALONE = "alone"


@dataclass(frozen=True)
class EncodedModule:
    """One module, named as the user did: its BTF in ``output``, or the fault for which there is none.

    ``said`` is what pahole said besides. ``route`` is None where pahole was not called for it.
    """

    file: str
    output: str
    btf_bytes: int = 0
    base_bytes: int = 0
    route: Route | None = None
    fault: str = ""
    said: str = ""


@dataclass(frozen=True)
class Encoding:
    """Against which vmlinux, and by which pahole; ``flags_of`` says whose words its flags are.

    ``release`` is "" for a vmlinux that does not say it, ``version`` Kconfig's (``"130"``), and ``detached``
    the folder of files that hold BTF alone, "" where it went into the modules.
    """

    vmlinux: str
    release: str
    version: str
    program: str
    flags: tuple[str, ...]
    flags_of: str
    detached: str
    server: bool


def by_fault(modules: Sequence[EncodedModule]) -> dict[str, list[EncodedModule]]:
    """Return those that have no BTF by what is wrong with them, the most frequent first."""
    found: dict[str, list[EncodedModule]] = {}
    for module in modules:
        if module.fault:
            found.setdefault(module.fault, []).append(module)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))
