# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The module as the build left it, before any kernel has seen it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kbtf_ci.errors import UsageError


@dataclass(frozen=True)
class Module:
    """One ``.ko`` of the inventory.

    ``name`` is the kernel's own name for it (``KBUILD_MODNAME``, underscores), ``file`` its path below
    the modules directory (``kernel/fs/xfs/xfs.ko``), to which ``packed`` is added where it lies there
    compressed (``.xz``). ``btf_bytes`` and ``btf_sha256`` describe the
    ``.BTF`` section, 0 and "" where there is none; ``base_bytes`` the ``.BTF.base`` section.
    ``depends`` are names of modules, from ``.modinfo``; ``no_btf_reason`` is kbuild's own line where
    the build log has one. ``fault`` says why the file cannot be read, "" where it can; the name is then the
    file's.
    """

    name: str
    file: str
    btf_bytes: int
    btf_sha256: str
    base_bytes: int = 0
    depends: tuple[str, ...] = ()
    no_btf_reason: str = ""
    packed: str = ""
    fault: str = ""

    @property
    def stored(self) -> str:
        """The path that it really has below the modules directory."""
        return self.file + self.packed

    @property
    def has_btf(self) -> bool:
        """Whether there is BTF to load: the kernel treats an empty section as none (kernel/bpf/btf.c)."""
        return self.btf_bytes > 0


def dependency_order(modules: Iterable[Module]) -> tuple[Module, ...]:
    """Return ``modules`` with every module behind the ones it depends on, otherwise sorted by file.

    A dependency that is not among them (built in) is passed over. Raises UsageError on a cycle, which
    depmod refuses as well.
    """
    by_name = {module.name: module for module in sorted(modules, key=lambda m: m.file)}
    ordered: dict[str, Module] = {}
    for name in by_name:
        _place(name, by_name, ordered, [])
    return tuple(ordered.values())


def _place(name: str, by_name: dict[str, Module], ordered: dict[str, Module], path: Sequence[str]) -> None:
    if name in ordered or name not in by_name:
        return
    if name in path:
        raise UsageError(f"modules depend on each other in a circle: {' -> '.join([*path, name])}")
    for dependency in by_name[name].depends:
        _place(dependency, by_name, ordered, [*path, name])
    ordered[name] = by_name[name]


def closure(names: Iterable[str], modules: Iterable[Module]) -> frozenset[str]:
    """Return ``names`` with all they depend on, directly or not."""
    by_name = {module.name: module for module in modules}
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found.add(name)
            waiting.extend(by_name[name].depends)
    return frozenset(found)
