# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The modules that ``kbtf-ci encode`` is given: what each is fit for, and where its BTF goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.record import Reporter
from kbtf_ci.kernel.split_btf import MAX_FOLDERS, Place
from kbtf_ci.model.encoded import EncodedModule
from kbtf_ci.objfile.encodable import Encodable, examine
from kbtf_ci.objfile.inventory import module_files

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Candidate:
    """A module as the user named it, the file that it is, and where its BTF goes."""

    file: str
    path: Path
    output: Path
    known: Encodable = field(default_factory=Encodable)
    stamp: _Stamp = (0, 0, 0)

    @property
    def ended(self) -> EncodedModule:
        """What came of it as far as is known: its fault, or nothing yet."""
        return EncodedModule(self.file, str(self.output), fault=self.known.fault)


def candidates(named: Sequence[Path], detached: Path | None, reporter: Reporter) -> list[Candidate]:
    """Return the modules that are named, each once. What links in a folder lead to was not named."""
    found: dict[Path, Candidate] = {}
    links = 0
    for given in named:
        for path in module_files(given):
            if path.is_symlink() and path != given:
                links += 1
                continue
            real = path.resolve()
            below = path.relative_to(given) if given.is_dir() else Path(path.name)
            output = real if detached is None else detached / _detached_name(below)
            found.setdefault(real, Candidate(str(path), real, output))
    if links:
        reporter.note(f"left alone: {links} symbolic links in the folders that are named")
    if not found:
        raise UsageError("no module but symbolic links", hint="name the files that they lead to")
    _refuse_same_output(list(found.values()))
    return list(found.values())


def _detached_name(below: Path) -> Path:
    return below.with_name(f"{below.name.partition('.ko')[0]}.btf")


def _refuse_same_output(candidates: Sequence[Candidate]) -> None:
    outputs: dict[Path, Candidate] = {}
    for one in candidates:
        other = outputs.setdefault(one.output, one)
        if other is not one:
            raise UsageError(
                f"{one.file} and {other.file}: both would become {one.output}",
                hint="name the folder above them, which keeps their paths apart",
            )


def examined(modules: Sequence[Candidate], *, in_place: bool) -> list[Candidate]:
    """Return them with what their files say, read several at a time."""

    def looked_at(one: Candidate) -> Candidate:
        known = examine(one.path)
        if in_place and not known.fault:
            known = replace(known, fault=_in_place_fault(one, known))
        return replace(one, known=known, stamp=(0, 0, 0) if known.fault else stamp_of(one.path))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(looked_at, modules))


def _in_place_fault(one: Candidate, known: Encodable) -> str:
    if known.only_detached:
        return f"{known.only_detached}: --detached leaves it as it is"
    if not os.access(one.path.parent, os.W_OK | os.X_OK):
        return "its folder cannot be written to: --detached leaves it as it is"
    return ""


def stamp_of(path: Path) -> _Stamp:
    """Return what tells a module from a changed one, as make would: inode, size, time stamp in ns."""
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def none_fit(modules: Sequence[Candidate]) -> UsageError:
    """Return the error for modules of which none can be given BTF: what is wrong with the first."""
    first = modules[0]
    same = sum(one.known.fault == first.known.fault for one in modules)
    count = f"so are {same} of {len(modules)} modules, and none can be given BTF" if len(modules) > 1 else ""
    return UsageError(f"{first.file}: {first.known.fault}", hint=count)


def places_of(fit: Sequence[Candidate], named: Sequence[Path]) -> list[Place]:
    """Return each module below one of few folders: those that are named, or what holds the files that are."""
    folders = {path.resolve() if path.is_dir() else path.resolve().parent for path in named}
    roots = sorted(one for one in folders if not any(other in one.parents for other in folders))
    if len(roots) > MAX_FOLDERS:
        raise UsageError(
            f"modules in {len(roots)} folders, and the toolchain can be given {MAX_FOLDERS} at a time",
            hint="name the folder above them",
        )
    places = []
    for one in fit:
        root = next(root for root in roots if root in one.path.parents)
        places.append(Place(root, str(one.path.relative_to(root))))
    return places
