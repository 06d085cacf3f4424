# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci repro bundle``: one module of a run, its kernel and what that said, in an archive to hand on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kbtf_ci import __version__
from kbtf_ci.errors import UsageError
from kbtf_ci.guest.image import root_archive
from kbtf_ci.guest.qemu import Accel, Machine
from kbtf_ci.guest.replay import initramfs, script
from kbtf_ci.infra.archive import write_archive
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runs import Run, old_run
from kbtf_ci.model import bundle as names
from kbtf_ci.model.bundle import OF_BTF, Bundle, BundledKernel, BundledModule
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.repro import on_btf
from kbtf_ci.objfile.carrier import make_carrier
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT, unpacked_name
from kbtf_ci.objfile.files import open_kernel
from kbtf_ci.report import bundle as report
from kbtf_ci.workflow.intake import module_paths
from kbtf_ci.workflow.workspace import guest_tools, toolchain

_MEMORY_MIB = 768  # for the largest distribution's kernel, with the programs of the guest unpacked in it


@dataclass(frozen=True)
class Bundled:
    """A bundle that was written: its path, and the size of each of its files in bytes."""

    path: Path
    bundle: Bundle
    sizes: Mapping[str, int]


def make_bundle(path: Path, module: str, output: Path | None, reporter: Reporter) -> Bundled:
    """Bundle one module of a run directory. Its file is ``output``, or named by module and release.

    Raises UsageError when the run has no such module, or one whose verdict is not of its BTF.
    """
    with old_run(path, reporter) as this:
        entry = results_entry(this.directory, module)
        reporter.stage("toolchain")
        kernel = this.directory.kernel_of(this.record.run)
        root = root_archive(guest_tools(toolchain(this.record.run.suite, reporter), kernel, reporter).runner)
        reporter.stage("bundle")
        members, bundle = _members(this, entry, root)
    folder = f"kbtf-{bundle.module.name}-{bundle.kernel.release}"
    target = output or Path(f"{folder}.tar.gz")
    write_archive(target, folder, members, {names.SCRIPT})
    return Bundled(target, bundle, {name: len(data) for name, data in members.items()})


def results_entry(directory: RunDirectory, module: str) -> dict[str, Any]:
    """Return what results.json says of a module. Raises UsageError where a bundle cannot show it."""
    results = directory.results_json
    try:
        values = json.loads(results.read_bytes())["modules"]
        found = next((one for one in values if _same(one["name"], module)), None)
        outcome = Outcome(found["outcome"]) if found else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{results}: not the results of a run", hint="kbtf-ci verify RUNDIR") from error
    if found is None:
        raise UsageError(f"{results}: no module is called {module!r}")
    if outcome not in OF_BTF:
        raise UsageError(
            f"{module}: {outcome} in {results}; a bundle shows a module's BTF, without its code",
            hint="kbtf-ci shell RUNDIR has the whole module",
        )
    if not names.NAME.fullmatch(found["name"]):
        raise UsageError(f"{found['name']!r}: no name that a bundle can have")
    return dict(found)


def _same(name: str, module: str) -> bool:
    return name.replace("-", "_") == module.removesuffix(".ko").replace("-", "_")


def _members(this: Run, entry: Mapping[str, Any], root: bytes) -> tuple[dict[str, bytes], Bundle]:
    kernel = this.directory.kernel_of(this.record.run)
    name = entry["name"]
    carrier = make_carrier(_module(this, entry), label=name)
    machine = Machine(Accel.TCG, _MEMORY_MIB, 1, type=machine_of(kernel.architecture, kernel.origin))
    config = this.directory.file("kernel.config")
    members = {
        names.SCRIPT: script(machine, names.KERNEL, names.INITRAMFS),
        names.DIAGNOSIS: _text(report.diagnosis(entry)),
        names.LOG: _text(entry["kernel_log"]),
        names.CONFIG: config.read_bytes() if config.is_file() else b"",
        names.CARRIER: carrier,
        names.BASE: open_kernel(kernel.image).file.btf,
        names.KERNEL: kernel.image.read_bytes(),
        names.INITRAMFS: initramfs(root, name, carrier),
    }
    facts = kernel.facts
    values = {
        "schema": names.SCHEMA,
        "kbtf_ci": __version__,
        "module": BundledModule(**{key: entry[key] for key in BundledModule.model_fields}),
        "kernel": BundledKernel(architecture=kernel.architecture, **vars(facts)),
        "outcome": entry["outcome"],
        "errno": -(entry["errno"] or 0) if entry["outcome"] == Outcome.REJECTED else 0,
        "sysfs_sha256": entry["sysfs_sha256"] or "",
        "log": on_btf(entry["kernel_log"]),
        "memory_mib": _MEMORY_MIB,
    }
    draft = Bundle.model_validate({**values, "digests": {}})
    members[names.EXPECTED] = _text(draft.seen.lines())
    members[names.READ_ME] = _text(report.read_me(draft))
    digests = {member: hashlib.sha256(data).hexdigest() for member, data in members.items()}
    bundle = Bundle.model_validate({**values, "digests": digests})
    members[names.MANIFEST] = (bundle.model_dump_json(by_alias=True, indent=1) + "\n").encode()
    return {member: members[member] for member in names.MEMBERS}, bundle


def _module(this: Run, entry: Mapping[str, Any]) -> bytes:
    kernel = this.directory.kernel_of(this.record.run)
    plain = kernel.modules / entry["file"]
    # Others' modules lie there as they were found, packed.
    found = next((path for path in module_paths(kernel) if unpacked_name(str(path)) == str(plain)), None)
    if found is None:
        raise UsageError(f"{plain}: the module's file is gone", hint="kbtf-ci verify makes a new run")
    return bytes(load(found, MODULE_LIMIT)[:])


def _text(lines: Any) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")
