# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which of several files of one module modprobe would load: depmod's choice, as depmod.d(5) words it."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.model.module import Module
from kbtf_ci.objfile.elf import unpacked_name

# depmod.d(5): the folders of configuration, an earlier one's file in the place of a later one's of its name.
_CONFIGURATION: Final = (
    "etc/depmod.d",
    "run/depmod.d",
    "usr/local/lib/depmod.d",
    "usr/lib/depmod.d",
    "lib/depmod.d",
)
_BUILT_IN: Final = "built-in"
# A run directory keeps here, beside the modules, what decided in the tree that they came from.
KEPT_CONFIGURATION: Final = "depmod.conf"
_DEFAULT_ORDER: Final = ("updates", _BUILT_IN)
# Where a run directory keeps modules that the user gave besides; they go before all others of their names.
EXTRA: Final = "kbtf-ci-extra"


@dataclass(frozen=True)
class Override:
    """``override NAME VERSION FOLDER``: the module of this name comes from this folder."""

    name: str
    folder: str


@dataclass(frozen=True)
class Preference:
    """What decides between files of one module: the paths in modules.dep, else the order of folders."""

    chosen: frozenset[str] = frozenset()
    overrides: tuple[Override, ...] = ()
    order: tuple[str, ...] = _DEFAULT_ORDER

    def best(self, candidates: Sequence[Module]) -> Module:
        """Return the module that modprobe would load of ``candidates``, which have one name."""
        return min(
            candidates,
            key=lambda module: (
                not is_extra(module.file),
                module.file not in self.chosen,
                self._rank(module),
                module.stored,
            ),
        )

    def configuration(self) -> str:
        """Return overrides and order as a file of depmod.d(5), for read_preference() to read."""
        overrides = (f"override {one.name} * {one.folder}\n" for one in self.overrides)
        return "".join([f"search {' '.join(self.order)}\n", *overrides])

    def _rank(self, module: Module) -> tuple[bool, int]:
        named = any(one.name == module.name and _below(module.file, one.folder) for one in self.overrides)
        places = [number for number, folder in enumerate(self.order) if _below(module.file, folder)]
        built_in = self.order.index(_BUILT_IN) if _BUILT_IN in self.order else len(self.order)
        return not named, min(places, default=built_in)


def read_preference(tree: Path) -> Preference:
    """Return what decides in the modules folder of one release, ``/lib/modules/RELEASE`` of some root.

    Where there is neither a modules.dep nor configuration, depmod's default order does.
    """
    lines = list(_configuration(tree))
    searches = [line[1:] for line in lines if line[0] == "search" and len(line) > 1]
    return Preference(
        frozenset(_listed(tree / "modules.dep")),
        tuple(Override(line[1].replace("-", "_"), line[3]) for line in lines if _overrides(line, tree.name)),
        tuple(searches[-1]) if searches else _DEFAULT_ORDER,
    )


def _listed(path: Path) -> Iterator[str]:
    """Yield the modules of a modules.dep: ``kernel/fs/xfs/xfs.ko.xz: kernel/lib/libcrc32c.ko.xz``."""
    for line in _lines(path):
        file, colon, _ = line.partition(":")
        if colon:
            yield unpacked_name(file)


def _configuration(tree: Path) -> Iterator[list[str]]:
    """Yield the words of every directive in the configuration of the root that ``tree`` lies in."""
    yield from _directives(tree / KEPT_CONFIGURATION)
    roots = [parent.parent for parent in tree.absolute().parents if parent.name == "lib"]
    roots = [root.parent if root.name == "usr" else root for root in roots[:1]]
    files: dict[str, Path] = {}
    for folder in (root / place for root in roots for place in _CONFIGURATION):
        for path in sorted(folder.glob("*.conf")):
            files.setdefault(path.name, path)
    for name in sorted(files):
        yield from _directives(files[name])


def _directives(path: Path) -> Iterator[list[str]]:
    yield from (words for line in _lines(path) if (words := line.partition("#")[0].split()))


def _overrides(words: list[str], release: str) -> bool:
    return words[0] == "override" and len(words) == 4 and fnmatch.fnmatch(release, words[2])


def _lines(path: Path) -> Iterable[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ()


def is_extra(file: str) -> bool:
    """Return whether a module's path is of one that the user gave besides the kernel's own."""
    return _below(file, EXTRA)


def _below(file: str, folder: str) -> bool:
    return file.startswith(f"{folder}/")
