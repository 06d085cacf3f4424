# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Every module of a kernel read once: predicted, listed, its functions kept, its carrier made."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.predict.sweep import KernelSpec, Opened, sweep_with
from kbtf_ci.btf.usable.fentry import functions
from kbtf_ci.btf.usable.registered import registered_kfuncs
from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.guest.carriers import CarrierArchive, write_archive
from kbtf_ci.infra.record import Counter, uncounted
from kbtf_ci.infra.whole import whole_file
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.model.kfunc_proof import RegisteredKfunc
from kbtf_ci.model.module import Module
from kbtf_ci.model.prediction import OverriddenPrediction, Prediction
from kbtf_ci.model.proof import Function, Prove
from kbtf_ci.objfile.carrier import carrier_of
from kbtf_ci.objfile.depmod import read_preference
from kbtf_ci.objfile.elf import module_entry, unreadable_entry
from kbtf_ci.objfile.inventory import Inventory, module_files, with_reason
from kbtf_ci.objfile.tracing import Places

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Intake:
    """What one reading of a kernel's modules gave.

    ``predictions`` are in the order of ``modules``; ``overridden`` are those of files in whose place modprobe
    would load another. ``archives`` hold the carriers where they were asked for. ``functions`` maps a
    module's stored path to the names of its BTF's functions; ``traced`` maps a module's name to what is
    predicted of fentry programs on them, and ``kfuncs`` to its kfuncs, where that was asked for.
    """

    modules: tuple[Module, ...]
    predictions: tuple[Prediction, ...]
    overridden: tuple[OverriddenPrediction, ...]
    archives: tuple[CarrierArchive, ...]
    functions: Mapping[str, Sequence[str]]
    traced: Mapping[str, Sequence[Function]]
    kfuncs: Mapping[str, Sequence[RegisteredKfunc]]


@dataclass(frozen=True)
class _Batch:
    modules: tuple[Module, ...]
    archive: CarrierArchive | None
    functions: Mapping[str, Sequence[str]]
    traced: Mapping[str, Sequence[Function]]
    kfuncs: Mapping[str, Sequence[RegisteredKfunc]]


@dataclass(frozen=True)
class _Reading:
    """What is done with each batch of modules while they are open, in whichever process that is."""

    tree: Path
    skipped_btf: Mapping[str, str]
    carriers: Path | None
    prove: Prove | None

    def __call__(self, number: int, batch: Sequence[Opened]) -> _Batch:
        entries = [(one, self._entry(one)) for one in batch]
        archive = None
        if self.carriers is not None:
            path = self.carriers / f"{number:05}.cpio"
            archive = write_archive(path, list(_carriers(entries)))
        names = {module.stored: one.btf.own_names(Kind.FUNC) for one, module in entries if one.btf}
        traced = dict(_traced(entries)) if self.prove in {Prove.FENTRY, Prove.ALL} else {}
        kfuncs = dict(_kfuncs(entries)) if self.prove in {Prove.KFUNC, Prove.ALL} else {}
        return _Batch(tuple(module for _, module in entries), archive, names, traced, kfuncs)

    def _entry(self, one: Opened) -> Module:
        file = str(one.path.relative_to(self.tree))
        if one.file is None or one.file.image is None:
            return unreadable_entry(file, one.fault or "raw BTF, not a module")
        return with_reason(module_entry(one.file.image, file), self.skipped_btf)


def module_paths(kernel: BuiltKernel) -> list[Path]:
    """Return the files of a kernel's modules. Raises UsageError where there are none."""
    tree = kernel.modules
    return module_files(tree) if kernel.files is None else [tree / file for file in kernel.files]


def take_in(
    spec: KernelSpec,
    kernel: BuiltKernel,
    carriers: Path | None,
    prove: Prove | None = None,
    on_done: Counter = uncounted,
) -> Intake:
    """Read every module of ``kernel`` once; ``carriers`` is the folder for archives of them, None for none.

    ``prove``: predict also what BPF programs on them come to. ``on_done`` hears how far it is.

    A module that cannot be read is there, with its fault. Raises UsageError for a kernel without modules,
    InfrastructureError on a full disk.
    """
    tree = kernel.modules
    reading = _Reading(tree, dict(kernel.skipped_btf), carriers, prove)
    paths = module_paths(kernel)
    swept = sweep_with(
        spec, paths, len(os.sched_getaffinity(0)), reading, lambda done: on_done(done, len(paths))
    )
    batches = swept.handled
    modules = [module for batch in batches for module in batch.modules]
    by_stored = {module.stored: one for module, one in zip(modules, swept.predictions, strict=True)}
    listed = Inventory.of(modules, read_preference(tree))
    chosen = frozenset(listed.modules)
    return Intake(
        modules=listed.modules,
        predictions=tuple(by_stored[module.stored] for module in listed.modules),
        overridden=tuple(
            OverriddenPrediction(loser.module, loser.by, by_stored[loser.module.stored])
            for loser in listed.overridden
        ),
        archives=tuple(batch.archive for batch in batches if batch.archive is not None),
        functions={stored: names for batch in batches for stored, names in batch.functions.items()},
        traced=dict(_by_name(chosen, batches, lambda batch: batch.traced)),
        kfuncs=dict(_by_name(chosen, batches, lambda batch: batch.kfuncs)),
    )


def _by_name(
    chosen: Container[Module],
    batches: Iterable[_Batch],
    of: Callable[[_Batch], Mapping[str, Sequence[_Found]]],
) -> Iterator[tuple[str, Sequence[_Found]]]:
    for batch in batches:
        found = of(batch)
        for module in batch.modules:
            if module in chosen and module.stored in found:
                yield module.name, found[module.stored]


def _traced(entries: Sequence[tuple[Opened, Module]]) -> Iterator[tuple[str, list[Function]]]:
    for one, module in entries:
        if one.btf is not None and one.file is not None and one.file.image is not None:
            yield module.stored, list(functions(one.btf, Places.of(one.file.image)))


def _kfuncs(entries: Sequence[tuple[Opened, Module]]) -> Iterator[tuple[str, list[RegisteredKfunc]]]:
    for one, module in entries:
        if one.btf is not None and one.file is not None and one.file.image is not None:
            unusable = one.prediction.unusable
            found = list(registered_kfuncs(one.file.image, one.btf, module.name, unusable))
            if found:
                yield module.stored, found


def _carriers(entries: Sequence[tuple[Opened, Module]]) -> Iterator[tuple[Module, bytes]]:
    """Yield each readable module's carrier; what cannot be made one is put before the kernel as it is."""
    for one, module in entries:
        if one.file is None or one.file.image is None:
            continue
        try:
            yield module, carrier_of(one.file.image, label=str(one.path))
        except UsageError:
            yield module, bytes(one.file.image.data[:])


def keep_functions(path: Path, functions: Mapping[str, Sequence[str]]) -> None:
    """Write the names of each module's functions to ``path``, as JSON, compressed.

    Raises InfrastructureError on a full disk.
    """
    data = json.dumps({"schema": "kbtf-ci/functions/1", "modules": functions}, separators=(",", ":"))
    try:
        with whole_file(path) as file:
            file.write(gzip.compress(data.encode(), compresslevel=6, mtime=0))
    except OSError as error:
        raise InfrastructureError(f"{path}: cannot be written: {error.strerror}") from error
