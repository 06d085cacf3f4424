# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci verify --kernel``: a kernel that others built, and all its modules."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.accel import choose
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra import rundir
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Counter, Reporter
from kbtf_ci.infra.runs import Run, begun, new_run
from kbtf_ci.kernel.laid_out import Prebuilt
from kbtf_ci.kernel.prebuilt import check_named, find
from kbtf_ci.kernel.runs_on import machine_for
from kbtf_ci.model.config import parse_config
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.options import PrebuiltOptions
from kbtf_ci.model.run_record import GuestProfile, PrebuiltRecord
from kbtf_ci.objfile.boot_kernel import read_unwrapped
from kbtf_ci.objfile.depmod import KEPT_CONFIGURATION, read_preference
from kbtf_ci.objfile.inventory import module_files
from kbtf_ci.workflow import verify as verification
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.initramfs import stale
from kbtf_ci.workflow.verdict import Verdict
from kbtf_ci.workflow.workspace import stage_tools_of_machine, toolchain

# One CPU a guest: the probe loads one module after the other, and more guests share better.
_GUEST = GuestProfile(name="prebuilt", memory_mib=None, cpus=1)


def verify(
    options: PrebuiltOptions, guest: GuestOptions, output: Path | None, command: str, reporter: Reporter
) -> Verdict:
    """Boot a kernel that others built and judge all its modules. Raises KbtfError as ``run.run``."""
    check_named(options.kernel)
    with new_run(output, begun(command, options, _GUEST), reporter) as this, this.record.track():
        with this.record.stage("toolchain"):
            tools = toolchain(options.suite, reporter)
        this.record.add(toolchain=tools.record)
        with this.record.stage("unpack"):
            unpacked = partial(reporter.progress, "packages")
            cache = cache_root() / "packages"
            found = find(
                options.kernel, options.modules, cache, tools.runner, unpacked,
                initramfs=options.initramfs, root=options.root,
            )  # fmt: skip
            for line in stale(found):
                reporter.warn(line)
            machine = machine_for(found, options.architecture)
            guest.require_fit(machine)
            if guest.accel is Accel.KVM:
                choose(tools.runner, guest.accel, reporter.warn, machine=machine)
            kernel = _take(found, machine, this)
        tools = stage_tools_of_machine(tools, machine, this)
        return verification.verify(kernel, guest, tools.runner, this)


def _take(found: Prebuilt, machine: MachineType, this: Run) -> BuiltKernel:
    """Put into the run directory what a build would have left there, the modules packed as they are."""
    directory = this.directory
    files = module_files(found.modules)
    config = found.config.read_bytes() if found.config else b""
    try:
        _copy_image(found.image, directory.image)
        if found.config:
            rundir.write_text(directory.file("kernel.config"), config.decode(errors="replace"))
        copied = partial(this.reporter.progress, "modules copied")
        _copy(files, found.modules, directory.modules, copied)
        _keep_preference(found.modules, directory.modules)
    except OSError as error:
        raise InfrastructureError(f"{directory.path}: cannot be written: {error.strerror}") from error
    this.reporter.note(f"{found.release}: {len(files)} modules from {found.origin}")
    sha256 = hashlib.sha256(config).hexdigest() if config else ""
    this.record.add(
        kernel=KernelFacts.of(found.release, parse_config(config.decode(errors="replace")), sha256),
        architecture=machine.name,
        prebuilt=PrebuiltRecord(origin=found.origin, builtin=sorted(found.builtin)),
    )
    return directory.kernel_of(this.record.run)


def _copy_image(source: Path, target: Path) -> None:
    """Put what boots without firmware where the run directory has it."""
    inside = read_unwrapped(source)
    if inside is None:
        shutil.copyfile(source, target)
    else:
        target.write_bytes(inside)


def _keep_preference(source: Path, target: Path) -> None:
    """Keep what decides which of several files of one module is loaded."""
    rundir.write_text(target / KEPT_CONFIGURATION, read_preference(source).configuration())
    if (source / "modules.dep").is_file():
        shutil.copyfile(source / "modules.dep", target / "modules.dep")


def _copy(files: Sequence[Path], source: Path, target: Path, on_done: Counter) -> None:
    def one(path: Path) -> None:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() or path.is_symlink():
            # A dangling link goes on as it is, and the inventory says what is wrong with it.
            shutil.copy2(path, copy, follow_symlinks=path.is_file())
        else:
            copy.touch()  # a FIFO, say: what can be read of it is nothing

    # Copying lets other threads run.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(one, files), 1):
            on_done(done, len(files))
