# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Many modules against one kernel, on several processes when they are worth their start."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.btf.predict.assess import Assessment, Assessor
from kbtf_ci.btf.predict.diagnosis import diagnose
from kbtf_ci.btf.rules.versions import Version
from kbtf_ci.errors import UsageError
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.objfile.elf import unreadable_entry
from kbtf_ci.objfile.files import KernelFile, ModuleFile, read_module_file
from kbtf_ci.objfile.inventory import fault_of

# A process costs about as much as so many modules: the interpreter, numpy, and vmlinux read again.
_WORTH_PROCESSES = 1000
_BATCH = 64


@dataclass(frozen=True)
class KernelSpec:
    """The kernel to judge by: what its file says, its version, its configuration (``CONFIG_X`` to value)."""

    file: KernelFile
    version: Version
    config: Mapping[str, str]

    def assessor(self) -> Assessor:
        """Return what judges modules."""
        return Assessor.of(self.file, self.version, self.config)


def sweep(
    facts: KernelSpec,
    paths: Sequence[Path],
    processes: int,
    on_done: Callable[[int], None] = lambda done: None,
) -> tuple[Prediction, ...]:
    """Return a prediction for each module, in the order of ``paths``; ``on_done`` hears how many are done.

    A module's file that cannot be read is UNREADABLE, and the others go on. Raises UsageError for a kernel
    that cannot be read.
    """
    found: list[Prediction] = []
    for batch in _batches(facts, paths, processes):
        found.extend(batch)
        on_done(len(found))
    if any(one.btf_bytes for one in found) and any(one.outcome is Outcome.NO_BTF for one in found):
        assessor = facts.assessor()
        found = [_with_siblings(one, assessor) for one in found]
    return tuple(found)


def _batches(facts: KernelSpec, paths: Sequence[Path], processes: int) -> Iterator[list[Prediction]]:
    if processes == 1 or len(paths) < _WORTH_PROCESSES:
        worker = _Worker(facts)
        for batch in _batched(paths):
            yield worker.predict(batch)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (facts,)) as pool:
        try:
            yield from pool.map(_predict, _batched(paths))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _batched(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH))


class _Worker:
    """One process's share."""

    def __init__(self, facts: KernelSpec) -> None:
        self._assessor = facts.assessor()

    def predict(self, paths: Iterable[Path]) -> list[Prediction]:
        opened = [_open(path) for path in paths]
        assessed = self._assessor.assess_all([one for one in opened if isinstance(one, ModuleFile)])
        found = [predicted(one, self._assessor, siblings_have_btf=False) for one in assessed]
        rest = iter(found)
        return [next(rest) if isinstance(one, ModuleFile) else one for one in opened]


def _open(path: Path) -> ModuleFile | Prediction:
    """Return what the module's file says, or where it cannot be read the prediction that says so."""
    try:
        return read_module_file(path)
    except UsageError as error:
        fault = fault_of(error, path)
        return Prediction(
            name=unreadable_entry(path.name, fault).name,
            file=str(path),
            outcome=Outcome.UNREADABLE,
            rule="unreadable",
            cause="unreadable",
            advice=f"{fault[:1].upper()}{fault[1:]}. It is cut short, damaged, or no module: get it again.",
        )


_worker: list[_Worker] = []


def _start(facts: KernelSpec) -> None:
    # An interrupt is the parent's to handle: it takes the pool down.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.append(_Worker(facts))


def _predict(paths: Sequence[Path]) -> list[Prediction]:
    return _worker[0].predict(paths)


def predicted(one: Assessment, assessor: Assessor, *, siblings_have_btf: bool) -> Prediction:
    """Return what is worth handing on of an assessment."""
    why = diagnose(one, assessor, siblings_have_btf=siblings_have_btf)
    return Prediction(
        name=one.module.name,
        file=str(one.module.path),
        outcome=one.outcome,
        errno=one.errno,
        rule=one.loader_check.rule if one.loader_check else one.verdict.rule,
        log=() if one.loader_check else one.verdict.log,
        btf_bytes=len(one.module.btf or b""),
        sysfs_bytes=one.sysfs_bytes,
        sysfs_sha256=one.sysfs_sha256,
        base_mismatch=one.base_mismatch.text if one.base_mismatch else "",
        cause=why.cause if why else "",
        advice=why.text if why else "",
        loader_checks=not one.module.raw,
    )


def _with_siblings(one: Prediction, assessor: Assessor) -> Prediction:
    """Look again at a module without BTF, now that others of the tree are known to have some."""
    if one.outcome is not Outcome.NO_BTF:
        return one
    return predicted(assessor.assess(read_module_file(Path(one.file))), assessor, siblings_have_btf=True)
