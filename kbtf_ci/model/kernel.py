# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel with its modules, whoever built it: what it says of itself, and where its files lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic.dataclasses import dataclass

X86_64: Final = "x86_64"


@dataclass(frozen=True)
class KernelFacts:
    """What kernel the results speak of; "" for what its files do not say.

    ``pahole`` is its version as Kconfig writes it (``"130"`` for 1.30).
    """

    release: str
    config_sha256: str = ""
    pahole: str = ""
    compiler: str = ""

    @classmethod
    def of(cls, release: str, config: Mapping[str, str], config_sha256: str) -> KernelFacts:
        """Return what a configuration (``CONFIG_X`` to value) says of the kernel that was built of it."""
        return cls(
            release=release,
            config_sha256=config_sha256,
            pahole=config.get("CONFIG_PAHOLE_VERSION", ""),
            compiler=config.get("CONFIG_CC_VERSION_TEXT", "").strip('"'),
        )


@dataclasses.dataclass(frozen=True)
class BuiltKernel:
    """One kernel and its modules, ready to be verified.

    ``image`` boots. ``modules`` is the folder that the modules lie below, as they were built or, of others'
    kernels, as they were found, compressed or not; ``files`` are those of them that count, None for all.
    ``config`` maps ``CONFIG_X`` to value, empty where it is not known. ``builtin`` has the names in
    modules.builtin, None for a kernel that was configured for our guest, which needs no module to come up.
    ``skipped_btf`` maps modules' files to kbuild's reason for giving them no BTF. ``memory_mib`` and ``cpus``
    are the guest's size, None: by what there is to load. ``origin`` says where it all comes from.
    """

    facts: KernelFacts
    image: Path
    modules: Path
    files: tuple[str, ...] | None = None
    config: Mapping[str, str] = dataclasses.field(default_factory=dict)
    builtin: frozenset[str] | None = None
    skipped_btf: Mapping[str, str] = dataclasses.field(default_factory=dict)
    memory_mib: int | None = None
    cpus: int = 1
    architecture: str = X86_64
    origin: str = ""
