# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The list of modules that the guest is held to, read from the files themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from kbtf_ci.errors import BuildError, InfrastructureError, UsageError
from kbtf_ci.model.module import Module
from kbtf_ci.objfile.depmod import Preference, read_preference
from kbtf_ci.objfile.elf import module_name, read_module, unreadable_entry

_NAMES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")  # as modules_install writes them, compressed or not
_LINKS_ELSEWHERE = {"build", "source"}


@dataclass(frozen=True)
class Overridden:
    """A module that is not loaded, because modprobe would take another file of its name."""

    module: Module
    by: Module


@dataclass(frozen=True)
class Inventory:
    """The modules of a tree, sorted by file, each name once; and what they stand in the way of."""

    modules: tuple[Module, ...]
    overridden: tuple[Overridden, ...] = ()

    @classmethod
    def of(cls, modules: Iterable[Module], preference: Preference) -> Inventory:
        """Return the inventory of these modules, of which several may have one name (DKMS, say)."""
        by_name: dict[str, list[Module]] = {}
        for module in modules:
            by_name.setdefault(module.name, []).append(module)
        chosen = {name: preference.best(candidates) for name, candidates in by_name.items()}
        losers = (
            Overridden(module, chosen[name])
            for name, candidates in by_name.items()
            for module in candidates
            if module is not chosen[name]
        )
        return cls(
            tuple(sorted(chosen.values(), key=lambda module: module.file)),
            tuple(sorted(losers, key=lambda loser: loser.module.stored)),
        )


def inventory(
    tree: Path, skipped_btf: Mapping[str, str] | None = None, files: Iterable[str] | None = None
) -> Inventory:
    """Return what is below ``tree``: each ``.ko``, ``.ko.xz``, ``.ko.zst`` and ``.ko.gz``, or just ``files``.

    ``skipped_btf`` maps files to kbuild's reason for giving them no BTF. One that cannot be read is there,
    with its fault. Raises UsageError when there is none at all.
    """
    paths = module_files(tree) if files is None else [tree / file for file in files]
    # Decompressing and hashing let other threads run.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = list(pool.map(lambda path: _entry(path, str(path.relative_to(tree))), paths))
    return Inventory.of((with_reason(module, skipped_btf or {}) for module in read), read_preference(tree))


def _entry(path: Path, file: str) -> Module:
    try:
        return read_module(path, file)
    except UsageError as error:
        return unreadable_entry(file, fault_of(error, path))


def fault_of(error: UsageError, path: Path) -> str:
    """Return what is wrong with the file at ``path``, without its name in front."""
    return error.message.removeprefix(f"{path}: ")


def with_reason(module: Module, skipped_btf: Mapping[str, str]) -> Module:
    """Return the module with kbuild's reason for giving it no BTF, if there is one."""
    reason = skipped_btf.get(module.file, "")
    return replace(module, no_btf_reason=reason) if reason else module


def module_files(path: Path) -> list[Path]:
    """Return ``path``, or where it is a folder every module below it. UsageError when there is none."""
    if not path.is_dir():
        return [path]
    found = sorted(found_modules(path))
    if not found:
        raise UsageError(f"{path}: no .ko file in it")
    return found


def found_modules(folder: Path) -> Iterator[Path]:
    """Yield every module below ``folder``, in no order.

    Links to folders are followed, once each, for that is how NixOS lays modules out; but not what
    modules_install calls ``build`` and ``source``, where a build's modules lie.
    """
    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        yield from (Path(place, name) for name in names if name.endswith(_NAMES))
        folders[:] = [name for name in folders if _is_followed(Path(place, name), seen)]


def _is_followed(folder: Path, seen: set[Path]) -> bool:
    """Return whether modules are looked for in a folder; remember where a link leads."""
    if not folder.is_symlink():
        return True
    target = folder.resolve()
    known = target in seen or folder.parent.resolve().is_relative_to(target)
    seen.add(target)
    return not known and folder.name not in _LINKS_ELSEWHERE


def packed_file(tree: Path, file: str) -> Path:
    """Return a module's file below ``tree``, compressed or not. Raises UsageError when it is not there."""
    for name in _NAMES:
        path = tree / (file.removesuffix(".ko") + name)
        if path.is_file():
            return path
    raise UsageError(f"{tree / file}: is not there")


def require(names: Iterable[str], files: Iterable[str]) -> None:
    """Raise BuildError when a module that the profile requires is not among the ``files`` that were built."""
    built = {module_name({}, file) for file in files}
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
