# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a user asks of a build, or of a kernel that others built: as options, and as run.json keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, PlainSerializer
from pydantic.dataclasses import dataclass

from kbtf_ci.model.kernel import X86_64

DEFAULT_SUITE = "trixie"
DEFAULT_CONFIG = "smoke"
TRACING = "trace"  # the fragment that --prove puts on top

# run.json writes "" for a path that was not given.
OptionalPath = Annotated[
    Path | None,
    BeforeValidator(lambda value: value or None),
    PlainSerializer(lambda value: str(value or ""), return_type=str),
]


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class BuildOptions:
    """Source, configuration and build; the command line's options of the same names say more.

    ``fragments`` are shipped ones' names or paths, ``added`` ``-K`` options, ``variables`` make's
    ``VAR=VALUE``, all in the user's words and order. Where ``pahole`` was built of ``pahole_tree``, or is
    that of ``pahole_suite``, a run keeps both. ``arch`` is an architecture's name as in
    model/architecture.py, ``toolchain`` a compiler's as in model/compiler.py, "" for the suite's gcc.
    """

    config: str
    jobs: int
    suite: str = DEFAULT_SUITE
    directory: str = ""
    sha256: str = ""
    added: tuple[str, ...] = ()
    pahole: OptionalPath = None
    pahole_tree: OptionalPath = None
    pahole_suite: str = ""
    libbpf_tree: OptionalPath = None
    variables: tuple[str, ...] = ()
    btf_cache: bool = False
    btf_server: bool = False
    arch: str = X86_64
    toolchain: str = ""
    fragments: tuple[str, ...] = ()


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class PrebuiltOptions:
    """Images, packages or folders, and where the modules lie if not there; see ``kernel.prebuilt.find``.

    ``architecture`` is what the image is for, "" where that is left to the image.
    """

    kernel: tuple[str, ...]
    modules: OptionalPath = None
    suite: str = DEFAULT_SUITE
    initramfs: OptionalPath = None
    root: OptionalPath = None
    architecture: str = ""
