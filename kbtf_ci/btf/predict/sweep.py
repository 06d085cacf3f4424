# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Many modules against one kernel, on several processes when they are worth their start."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.predict.assess import Assessment, Assessor
from kbtf_ci.btf.predict.diagnosis import diagnose
from kbtf_ci.btf.rules.versions import Rules
from kbtf_ci.btf.usable.kfuncs import unusable_in
from kbtf_ci.errors import UsageError
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.model.usable import Unusable
from kbtf_ci.objfile.elf import unreadable_entry
from kbtf_ci.objfile.files import KernelFile, ModuleFile, read_module_file
from kbtf_ci.objfile.inventory import fault_of

_Handled = TypeVar("_Handled")

# A process costs about as much as so many modules: the interpreter, numpy, and vmlinux read again.
_WORTH_PROCESSES = 1000
_BATCH = 64


@dataclass(frozen=True)
class KernelSpec:
    """The kernel to judge by: what its file says, its rules, its configuration (``CONFIG_X`` to value)."""

    file: KernelFile
    rules: Rules
    config: Mapping[str, str]

    def assessor(self) -> Assessor:
        """Return what judges modules."""
        return Assessor.of(self.file, self.rules, self.config)


@dataclass(frozen=True)
class Opened:
    """One module while its file is open: what the file says, its BTF as the kernel will use it, a prediction.

    ``file`` is None where it cannot be read, and ``fault`` says why; ``btf`` None where there is none, or
    where the kernel would refuse it.
    """

    path: Path
    file: ModuleFile | None
    btf: Btf | None
    prediction: Prediction
    fault: str = ""


# What else is done with modules while they are open: told the number of the batch, from 0, and the batch. It
# goes to other processes, and what it returns comes from them.
Handler = Callable[[int, Sequence[Opened]], _Handled]


@dataclass(frozen=True)
class Swept(Generic[_Handled]):
    """A prediction for each module, in order, and what the handler made of each batch of them."""

    predictions: tuple[Prediction, ...]
    handled: tuple[_Handled, ...]


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
    return sweep_with(facts, paths, processes, _nothing, on_done).predictions


def sweep_with(
    facts: KernelSpec,
    paths: Sequence[Path],
    processes: int,
    handler: Handler[_Handled],
    on_done: Callable[[int], None] = lambda done: None,
) -> Swept[_Handled]:
    """Return what sweep() does, and what ``handler`` made of the modules, each of which is read once."""
    found: list[Prediction] = []
    handled: list[_Handled] = []
    for predictions, more in _batches(facts, paths, processes, handler):
        found.extend(predictions)
        handled.append(more)
        on_done(len(found))
    if any(one.btf_bytes for one in found) and any(one.outcome is Outcome.NO_BTF for one in found):
        assessor = facts.assessor()
        found = [_with_siblings(one, assessor) for one in found]
    return Swept(tuple(found), tuple(handled))


def _nothing(_number: int, _batch: Sequence[Opened]) -> None:
    pass


def _batches(
    facts: KernelSpec, paths: Sequence[Path], processes: int, handler: Handler[_Handled]
) -> Iterator[tuple[list[Prediction], _Handled]]:
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    if processes == 1 or len(paths) < _WORTH_PROCESSES:
        worker = _Worker(facts, handler)
        for number, batch in enumerate(batches):
            yield worker.work(number, batch)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (facts, handler)) as pool:
        try:
            yield from pool.map(_work, range(len(batches)), batches)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class _Worker(Generic[_Handled]):
    """One process's share."""

    def __init__(self, facts: KernelSpec, handler: Handler[_Handled]) -> None:
        self._assessor = facts.assessor()
        self._handler = handler

    def work(self, number: int, paths: Sequence[Path]) -> tuple[list[Prediction], _Handled]:
        opened = list(self._open_all(paths))
        return [one.prediction for one in opened], self._handler(number, opened)

    def _open_all(self, paths: Sequence[Path]) -> Iterator[Opened]:
        files = [_open(path) for path in paths]
        assessed = self._assessor.assess_all([one for one in files if isinstance(one, ModuleFile)])
        for path, file in zip(paths, files, strict=True):
            if isinstance(file, ModuleFile):
                one = next(assessed)
                found = predicted(one, self._assessor, siblings_have_btf=False)
                yield Opened(path, file, one.verdict.btf, found)
            else:
                yield Opened(path, None, None, _unreadable(path, file), file)


def _open(path: Path) -> ModuleFile | str:
    """Return what the module's file says, or why it cannot be read."""
    try:
        return read_module_file(path)
    except UsageError as error:
        return fault_of(error, path)


def _unreadable(path: Path, fault: str) -> Prediction:
    return Prediction(
        name=unreadable_entry(path.name, fault).name,
        file=str(path),
        outcome=Outcome.UNREADABLE,
        rule="unreadable",
        cause="unreadable",
        advice=f"{fault[:1].upper()}{fault[1:]}. It is cut short, damaged, or no module: get it again.",
    )


_worker: list[_Worker[Any]] = []


def _start(facts: KernelSpec, handler: Handler[Any]) -> None:
    # An interrupt is the parent's to handle: it takes the pool down.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _worker.append(_Worker(facts, handler))


def _work(number: int, paths: Sequence[Path]) -> tuple[list[Prediction], Any]:
    return _worker[0].work(number, paths)


def predicted(one: Assessment, assessor: Assessor, *, siblings_have_btf: bool) -> Prediction:
    """Return what is worth handing on of an assessment."""
    repeats = assessor.repeats(one)
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
        unusable=_unusable(one, assessor),
        extra_bytes=one.module.extra_bytes,
        repeated_typedefs=repeats.typedefs,
        repeated_structs=repeats.structs,
        empty_btf=one.verdict.btf is not None and len(one.verdict.btf.records) == 0,
    )


def _unusable(one: Assessment, assessor: Assessor) -> tuple[Unusable, ...]:
    """Return a module's kfuncs that no BPF program can call; of BTF that is refused there is more to say."""
    module, btf = one.module, one.verdict.btf
    if btf is None or not module.btf_ids_bytes or module.image is None:
        return ()
    return unusable_in(module.image, btf, assessor.kernel.rules.version)


def _with_siblings(one: Prediction, assessor: Assessor) -> Prediction:
    """Look again at a module without BTF, now that others of the tree are known to have some."""
    if one.outcome is not Outcome.NO_BTF:
        return one
    return predicted(assessor.assess(read_module_file(Path(one.file))), assessor, siblings_have_btf=True)
