# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where modules lie in the guest, and what modprobe reads there (modules.dep(5)), as depmod writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import quote

from kbtf_ci.model.module import Module, closure, dependency_order

MODULES: Final = PurePosixPath("lib/modules")


def guest_file(module: Module) -> str:
    """Return the module's path below the guest's modules folder.

    It is the module's ``file`` where that is plain. Whatever would end a word or a line in modules.dep, in
    the probe's requests or in a shell is written as ``%XX``: these formats have no quoting of their own.
    """
    return _plain(module.file)


def carrier_file(module: Module) -> str:
    """Return the path of a module's carrier there: of two files of one module each has its own."""
    return _plain(module.stored)


def _plain(path: str) -> str:
    return quote(path, safe="/+,=@", errors="surrogateescape")


def modules_dep(modules: Iterable[Module]) -> str:
    """Return modules.dep: each file, and all that it stands on, directly or not, the deepest last.

    A dependency that is not among the modules (built in) is passed over. Raises UsageError on a circle.
    """
    below: dict[str, dict[str, str]] = {}
    for module in dependency_order(modules):
        found: dict[str, str] = {}
        for name in module.depends:
            found.update(below.get(name, {}))
        below[module.name] = {**found, module.name: guest_file(module)}
    return "".join(f"{_line(list(files.values()))}\n" for files in below.values())


def with_soft_dependencies(
    modules: Iterable[Module], soft: Mapping[str, Iterable[str]], aliases: Mapping[str, Iterable[str]]
) -> tuple[Module, ...]:
    """Return the modules, each depending besides on what its ``softdep`` wants in before it.

    ``soft`` maps names of modules to what they say (MODULE_SOFTDEP()), ``aliases`` to the patterns that they
    answer to. BusyBox's modprobe knows modules.dep alone. What is not among the modules, and what depends on
    the module in its turn, is passed over.
    """
    found = {module.name: module for module in modules}
    for name in tuple(found):
        for word in _wanted_before(soft.get(name, ())):
            for other in _answering(word, found, aliases):
                if name not in closure([other], found.values()):
                    found[name] = replace(found[name], depends=(*found[name].depends, other))
    return tuple(found.values())


def _wanted_before(texts: Iterable[str]) -> Iterator[str]:
    """Yield the words behind ``pre:``; a softdep is "pre: a b post: c"."""
    for text in texts:
        before = False
        for word in text.split():
            if word in {"pre:", "post:"}:
                before = word == "pre:"
            elif before:
                yield word


def _answering(
    word: str, modules: Mapping[str, Module], aliases: Mapping[str, Iterable[str]]
) -> tuple[str, ...]:
    """Return the modules that modprobe loads for a word: the one of that name, else those of an alias."""
    name = word.replace("-", "_")
    if name in modules:
        return (name,)
    return tuple(other for other, patterns in aliases.items() if word in patterns and other in modules)


def _line(files: list[str]) -> str:
    own, *needed = reversed(files)
    return f"{own}: {' '.join(needed)}".rstrip()


def modules_alias(aliases: Mapping[str, Iterable[str]]) -> str:
    """Return modules.alias of ``aliases``, which maps names of modules to the patterns they answer to."""
    return "".join(f"alias {pattern} {name}\n" for name, pattern in _words(aliases))


def _words(aliases: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    for name, patterns in aliases.items():
        # A pattern of several words cannot be written down, nor would the kernel ask for it.
        yield from ((name, pattern) for pattern in patterns if pattern.split() == [pattern])
