# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the cells of a matrix will need, by their profiles and options, before any of them is run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from kbtf_ci.errors import KbtfError
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.profiles import Profile, parse_size_mib, profile_of
from kbtf_ci.infra.record import Reporter
from kbtf_ci.kernel.target import NATIVE
from kbtf_ci.model.cell_needs import CellNeeds, disk_together
from kbtf_ci.model.cluster import needs as resources_of
from kbtf_ci.model.compiler import compiler_named
from kbtf_ci.model.matrix import Cell, Plan
from kbtf_ci.model.options import DEFAULT_CONFIG, DEFAULT_SUITE, BuildOptions
from kbtf_ci.model.run_record import HOST


def needs_of(plan: Plan) -> Mapping[str, CellNeeds]:
    """Return what each cell needs, by its name; what its options will be refused for is among it."""
    return {cell.name: _of_cell(cell) for cell in plan.cells}


def warn_of_disk(cells: Sequence[Cell], reporter: Reporter) -> None:
    """Tell where all build directories together do not fit: each is checked when it begins, hours later."""
    needed = disk_together(cells, {cell.name: _of_cell(cell) for cell in cells})
    root = cache_root()
    free = shutil.disk_usage(next(path for path in (root, *root.parents) if path.is_dir())).free >> 20
    if needed > free:
        reporter.warn(
            f"{root}: has {free >> 10} GiB free, and what is compiled takes {needed >> 10} GiB together; "
            "point KBTF_CI_CACHE at another disk, or kbtf-ci prune"
        )


def _of_cell(cell: Cell) -> CellNeeds:
    text = {key: str(value) for key, value in cell.options.items() if not isinstance(value, tuple)}
    plain = CellNeeds(
        suite="" if text.get("engine") == HOST else text.get("suite", DEFAULT_SUITE),
        toolchain=text.get("toolchain", ""),
        architecture=text.get("arch", NATIVE.architecture),
        memory_mib=_number(text.get("memory", ""), parse_size_mib),
        cpus=_number(text.get("cpus", ""), int),
        resources=resources_of(cell),
    )
    if "kernel" in cell.options:
        return plain
    try:
        toolchain = compiler_named(plain.toolchain).name
        profile = _profile(cell, text.get("config", DEFAULT_CONFIG), plain.architecture)
    except KbtfError as error:
        return replace(plain, refused=error.message)
    return replace(
        plain,
        toolchain=toolchain,
        disk_mib=profile.disk_mib,
        memory_mib=plain.memory_mib or profile.memory_mib,
        cpus=plain.cpus or profile.cpus,
    )


def _number(text: str, read: Callable[[str], int]) -> int | None:
    """Return an option's number; of one that is none the command itself will tell."""
    try:
        return read(text)
    except ValueError:
        return None


def _profile(cell: Cell, config: str, architecture: str) -> Profile:
    fragments = cell.options.get("fragment", ())
    named = fragments if isinstance(fragments, tuple) else ()
    return profile_of(BuildOptions(config=config, jobs=1, arch=architecture, fragments=named))
