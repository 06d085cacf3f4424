# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci sizes``: a run directory's modules are encoded again with no base, and weighed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kbtf_ci.errors import KbtfError, UsageError
from kbtf_ci.infra import rundir
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Reporter
from kbtf_ci.kernel.encode import Encoded, encode
from kbtf_ci.kernel.pahole import Pahole, ask_kbuild, recorded, version
from kbtf_ci.model.module import Module
from kbtf_ci.model.run_record import PaholeRecord, RunRecord
from kbtf_ci.model.sizes import Sizes, compare
from kbtf_ci.objfile.inventory import inventory
from kbtf_ci.report.sizes import Encoding, document, load_previous, tables
from kbtf_ci.workflow import workspace


@dataclass(frozen=True)
class Sized:
    """The end of it: every module's sizes, and the same as sizes.json holds it."""

    sizes: Sizes
    values: Mapping[str, Any]

    def text(self, top: int) -> Iterator[str]:
        """Yield the lines that a person reads, with ``top`` modules in a table."""
        return tables(self.sizes, top)


@dataclass(frozen=True)
class _Run:
    """A run directory whose modules are sized up, and how pahole wrote them."""

    directory: rundir.RunDirectory
    record: RunRecord
    modules: Sequence[Module]
    stamps: Mapping[str, str]
    pahole: Pahole


@dataclass
class _Ledger:
    """What is known so far: bytes of full BTF by file, or pahole's word for why there are none."""

    version: str
    full: dict[str, int]
    faults: dict[str, str] = field(default_factory=dict)

    def missing(self, run: _Run) -> list[str]:
        return [module.file for module in run.modules if module.has_btf and module.file not in self.full]

    def take(self, encoded: Encoded) -> None:
        if encoded.fault:
            self.faults[encoded.file] = encoded.fault
        else:
            self.full[encoded.file] = encoded.full_bytes


def measure_sizes(path: Path, jobs: int, reporter: Reporter) -> Sized:
    """Return the full and the split size of every module of a run directory, and keep them in sizes.json.

    Only modules that changed since an earlier call are encoded, ``jobs`` at a time; what is known when the
    work is interrupted is kept. Raises UsageError when the folder holds no run, or none of its modules can
    be encoded.
    """
    directory = rundir.RunDirectory(path.resolve())
    directory.read_build()  # what is no run is refused without a lock left in it
    with directory.locked(reporter.note):
        return _measure(directory, jobs, reporter)


def _measure(directory: rundir.RunDirectory, jobs: int, reporter: Reporter) -> Sized:
    record = directory.read_build()
    reporter.stage("inventory")
    modules = inventory(directory.modules, record.skipped_btf).modules
    if not any(module.has_btf for module in modules):
        raise UsageError(f"{directory.modules}: none of its {len(modules)} modules has a .BTF section")
    stamps = {module.file: _stamp(directory.modules / module.file) for module in modules}
    run = _Run(directory, record, modules, stamps, _pahole(directory, record, reporter))
    ledger = _earlier(run)
    if ledger.missing(run):
        ledger = _encode(run, ledger, jobs, reporter)
    else:
        reporter.note(f"encoded 0 modules, kept {len(ledger.full)}")
    return _keep(run, ledger)


def _encode(run: _Run, ledger: _Ledger, jobs: int, reporter: Reporter) -> _Ledger:
    reporter.stage("encode")
    runner = workspace.toolchain(run.record.suite, reporter).runner
    now = version(runner, run.pahole)
    if now != ledger.version:
        # One table holds what one pahole wrote.
        ledger = _Ledger(now, {})
    if now != (before := run.record.facts.pahole):
        reporter.warn(f"pahole is {now} now, it was {before} when the modules got their split BTF")
    todo, kept = ledger.missing(run), len(ledger.full)

    def on_encoded(encoded: Encoded) -> None:
        ledger.take(encoded)
        done = len(ledger.full) - kept + len(ledger.faults)
        reporter.progress(encoded.file, done, len(todo))
        if encoded.fault:
            reporter.warn(f"{encoded.file} was not encoded: {encoded.fault}")

    try:
        encode(runner, run.directory.modules, todo, run.pahole, jobs=jobs, on_encoded=on_encoded)
    except KbtfError as error:
        if ledger.full:
            _keep(run, ledger, ended=error.message)
        raise
    if not ledger.full:
        raise UsageError(
            f"{run.directory.modules}: pahole could encode none of its modules",
            hint="sizes needs them with their debug information, as kbtf-ci build leaves them there",
        )
    reporter.note(f"encoded {len(ledger.full) - kept} modules, kept {kept}")
    return ledger


def _pahole(directory: rundir.RunDirectory, record: RunRecord, reporter: Reporter) -> Pahole:
    """Return the pahole that the build recorded; where it did not yet, kbuild is asked now and recorded."""
    known = record.pahole
    if known is None:
        reporter.stage("pahole's flags")
        known = _ask(record, directory, reporter)
        directory.write_record(record.amended({"pahole": known}))
    return Pahole.of(known, record.build_options.pahole)


def _ask(record: RunRecord, directory: rundir.RunDirectory, reporter: Reporter) -> PaholeRecord:
    """Ask kbuild on the run's own configuration and source, in a build directory made for the question."""
    options = record.build_options
    tools = workspace.toolchain(options.suite, reporter)
    source = workspace.source(options, tools, reporter)
    before = record.source.version if record.source else "an unknown version"
    if source.version != before:
        raise UsageError(
            f"{source.origin}: now {source.version}, this run was built from {before}",
            hint="kbtf-ci build makes a new one",
        )
    scratch = cache_root() / "build"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".pahole-") as folder:
        (Path(folder) / ".config").write_bytes(directory.file("kernel.config").read_bytes())
        return recorded(tools.runner, ask_kbuild(workspace.kbuild(options, tools, source, Path(folder))))


def _stamp(path: Path) -> str:
    """Return what tells a module from a changed one, as make would: its size and time stamp in ns."""
    status = path.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _earlier(run: _Run) -> _Ledger:
    values = _read(run.directory.file("sizes.json"))
    return _Ledger(*load_previous(values, run.pahole.program, run.pahole.flags, run.stamps))


def _keep(run: _Run, ledger: _Ledger, ended: str = "") -> Sized:
    """Write sizes.json unless it says all this already."""
    release = run.record.facts.release
    encoding = Encoding(release, ledger.version, run.pahole.program, run.pahole.flags)
    sizes = compare(run.modules, ledger.full, ledger.faults)
    values = document(encoding, sizes, run.stamps, ended)
    path = run.directory.file("sizes.json")
    if _read(path) != values:
        rundir.write_json(path, values)
    return Sized(sizes, values)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
