# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The list of modules that the guest is held to, read from the files themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from kbtf_ci.errors import BuildError, InfrastructureError, UsageError
from kbtf_ci.model.module import Module
from kbtf_ci.objfile.elf import read_module

_NAMES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")  # as modules_install writes them, compressed or not


def inventory(tree: Path, skipped_btf: Mapping[str, str] | None = None) -> tuple[Module, ...]:
    """Return every ``.ko``, ``.ko.xz``, ``.ko.zst`` and ``.ko.gz`` below ``tree``, sorted by file.

    ``skipped_btf`` maps files to kbuild's reason for giving them no BTF. Raises UsageError when there is
    none, when one is not an ELF file, or when two have one name (the kernel would load only one).
    """
    reasons = skipped_btf or {}
    by_name: dict[str, Module] = {}
    for module in _read(tree):
        file = module.file
        if module.name in by_name:
            raise UsageError(
                f"{tree}: {file} and {by_name[module.name].file} are both module '{module.name}'"
            )
        by_name[module.name] = (
            replace(module, no_btf_reason=reasons.get(file, "")) if file in reasons else module
        )
    if not by_name:
        raise UsageError(f"{tree}: no .ko file in it")
    return tuple(sorted(by_name.values(), key=lambda module: module.file))


def module_files(path: Path) -> list[Path]:
    """Return ``path``, or where it is a folder every module below it. UsageError when there is none."""
    if not path.is_dir():
        return [path]
    found = _below(path)
    if not found:
        raise UsageError(f"{path}: no .ko file in it")
    return found


def _below(tree: Path) -> list[Path]:
    return sorted(path for path in tree.rglob("*.ko*") if path.name.endswith(_NAMES))


def _read(tree: Path) -> Iterator[Module]:
    paths = _below(tree)
    # Decompressing and hashing let other threads run.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda path: read_module(path, str(path.relative_to(tree))), paths)


def require(names: Iterable[str], modules: Iterable[Module]) -> None:
    """Raise BuildError when a module that the profile requires was not built."""
    built = {module.name for module in modules}
    missing = [name for name in names if name not in built]
    if missing:
        raise BuildError(
            f"the profile requires modules that were not built: {', '.join(missing)}",
            hint="switch their symbols on as =m, or take them off the profile's require list",
        )


def check_unaltered(modules: Iterable[Module], stripped: Path) -> None:
    """Raise InfrastructureError when the stripped copy of a module has another ``.BTF`` than the module."""
    for module in modules:
        copy = read_module(stripped / module.file, module.file)
        if (copy.btf_sha256, copy.base_bytes) != (module.btf_sha256, module.base_bytes):
            raise InfrastructureError(f"{stripped / module.file}: stripping altered its .BTF")
