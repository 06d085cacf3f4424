# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The story of a run, and the only place where the stages meet.

profile -> source -> toolchain image -> configure -> build -> inventory -> guest image -> guest ->
observations -> verdict -> report. Each stage hands on one frozen value and never reaches back.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.accel import choose
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra import rundir
from kbtf_ci.infra.profiles import Profile, profile_of
from kbtf_ci.infra.record import Counter, Reporter, uncounted
from kbtf_ci.infra.runs import Run, begun, new_run, old_run
from kbtf_ci.kernel import build as kernel_build
from kbtf_ci.kernel.finished import find_finished, keep_finished
from kbtf_ci.kernel.identity import identify
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.kconfig import Configured, configure
from kbtf_ci.kernel.pahole import Pahole, keep_answer, libbpf, recorded
from kbtf_ci.kernel.pahole_tree import forget_btf_of_other
from kbtf_ci.kernel.server_saving import btf_server_record
from kbtf_ci.kernel.steps import StepCount
from kbtf_ci.kernel.strip import strip_modules
from kbtf_ci.kernel.target import target_of
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.model.known_pairs import known_pairs
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.run_record import GuestProfile, SourceRecord
from kbtf_ci.model.version import parse_version
from kbtf_ci.objfile.inventory import inventory, require
from kbtf_ci.workflow import verify as verification
from kbtf_ci.workflow import workspace
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.live_guest import live_guest
from kbtf_ci.workflow.verdict import Verdict
from kbtf_ci.workflow.workspace import Tools, stage_tools_of_machine, toolchain

_SUBTREE = "kernel"  # below /lib/modules/<release>, as modules_install has it


def run(
    options: BuildOptions, guest: GuestOptions, output: Path | None, command: str, reporter: Reporter
) -> Verdict:
    """Build a kernel, boot it and judge every module. What a failed guest left out is NOT_REACHED.

    Raises KbtfError for whatever fails before the guest.
    """
    profile = profile_of(options)
    machine = target_of(options.arch).machine
    guest.require_fit(machine)
    with _new_run(options, profile, output, command, reporter) as this, this.record.track():
        tools = _build_tools(options, this)
        _require_kvm(guest.accel, machine, tools, this)
        kernel = _build(options, profile, tools, this)
        return verification.verify(kernel, guest, tools.runner, this)


def build(
    options: BuildOptions, output: Path | None, command: str, reporter: Reporter
) -> rundir.RunDirectory:
    """Build a kernel into a new run directory, without booting it."""
    profile = profile_of(options)
    with _new_run(options, profile, output, command, reporter) as this, this.record.track():
        kernel = _build(options, profile, _build_tools(options, this), this)
        with this.record.stage("inventory"):
            modules = inventory(kernel.modules, kernel.skipped_btf).modules
            size = sum(module.btf_bytes for module in modules)
            reporter.note(f"{len(modules)} modules, {size:,} bytes of split BTF")
    return this.directory


def verify(path: Path, guest: GuestOptions, reporter: Reporter) -> Verdict:
    """Boot the kernel of a run directory and judge its modules as they are in it now."""
    with old_run(path, reporter) as this, this.record.track():
        tools = _tools(this.record.run.suite, this)
        kernel = this.directory.kernel_of(this.record.run)
        machine = machine_of(kernel.architecture, kernel.origin)
        _require_kvm(guest.accel, machine, tools, this)
        return verification.verify(kernel, guest, stage_tools_of_machine(tools, machine, this).runner, this)


def shell(path: Path, options: GuestOptions, reporter: Reporter) -> int:
    """Boot the kernel of a run directory and connect this process's input and output to a shell in it.

    The folder is held until the guest is up. Returns the shell's exit status.
    """
    with live_guest(path, options, reporter) as guest:
        return guest.interact()


def _new_run(
    options: BuildOptions, profile: Profile, output: Path | None, command: str, reporter: Reporter
) -> AbstractContextManager[Run]:
    guest = GuestProfile(name=profile.name, memory_mib=profile.memory_mib, cpus=profile.cpus)
    return new_run(output, begun(command, options, guest), reporter)


def _tools(suite: str, this: Run) -> Tools:
    with this.record.stage("toolchain"):
        tools = toolchain(suite, this.reporter)
    this.record.add(toolchain=tools.record)
    return tools


def _build_tools(options: BuildOptions, this: Run) -> Tools:
    """Return the toolchain with what guests of another architecture need and another compiler on top."""
    machine = target_of(options.arch).machine
    tools = stage_tools_of_machine(_tools(options.suite, this), machine, this)
    if not options.toolchain:
        return tools
    with this.record.stage("compiler"):
        found = workspace.with_compiler(options, tools, this.reporter)
    this.record.add(compiler_toolchain=found.record)
    return found


def _require_kvm(accel: Accel, machine: MachineType, tools: Tools, this: Run) -> None:
    """Refuse ``--accel kvm`` where it does not run before an hour's build, or over earlier results."""
    if accel is Accel.KVM:
        choose(tools.runner, accel, this.reporter.warn, machine=machine)


def _build(options: BuildOptions, profile: Profile, tools: Tools, this: Run) -> BuiltKernel:
    """Build into the run directory, and return what it holds then."""
    record, reporter, directory = this.record, this.reporter, this.directory
    made_here = options.pahole_tree is not None or options.pahole_suite
    if made_here:
        with record.stage("pahole"):
            options = workspace.with_pahole(options, tools, reporter)
            record.add(options=options)
    with record.stage("source"):
        source = workspace.source(options, tools, reporter)
        record.add(source=SourceRecord(version=source.version, origin=source.origin))
    folder = workspace.build_folder(source, profile, options, tools.key)
    with workspace.locked_build_dir(folder, reporter):
        kbuild = workspace.kbuild(options, tools, source, folder)
        with record.stage("configure"):
            configured = configure(kbuild, profile, options.added)
            _keep_configuration(configured, directory)
            values = {f"CONFIG_{symbol}": value for symbol, value in configured.values.items()}
            pahole = Pahole(kbuild.real_pahole, (), kbuild.pahole)
            version = parse_version(source.version)
            for line in known_pairs(values, options.arch, libbpf(tools.runner, pahole), version):
                reporter.warn(line)
        with record.stage("build"):
            kernel_build.check_disk(folder, profile.disk_mib)
            if made_here:
                forget_btf_of_other(kbuild)
            count = workspace.step_count(source, profile, options)
            built = _made(kbuild, configured.stamp, count, directory, reporter)
            require(profile.require, built.modules)
            pahole = keep_answer(kbuild, configured.stamp)
            server = btf_server_record(kbuild, built, pahole)
            if server is not None:
                reporter.note(server.headline)
        with record.stage("copy"):
            identity = identify(folder, built.release)
            _copy_kernel(built, folder, directory, partial(reporter.progress, "modules copied"))
            _strip(built, kbuild, directory)
    record.add(
        kernel=KernelFacts.of(built.release, values, configured.sha256),
        architecture=options.arch,
        build=identity,
        make=dict(built.steps),
        build_seconds=dict(built.seconds),
        pahole=recorded(tools.runner, pahole),
        btf_server=server,
        skipped_btf=_below_subtree(built.skipped_btf),
    )
    return directory.kernel_of(record.run)


def _made(
    kbuild: Kbuild, stamp: str, count: StepCount, directory: rundir.RunDirectory, reporter: Reporter
) -> kernel_build.Built:
    """Let make build, but where nothing has changed since it did."""
    log = directory.file("build.log")
    built = find_finished(kbuild, stamp)
    if built is None:
        built = kernel_build.build(kbuild, log, _tell_progress(reporter), count.expected)
        keep_finished(kbuild, stamp, built)
        count.keep(built)
    else:
        rundir.write_text(log, f"{kbuild.build_dir}: all is as make left it, which was not called\n")
    written = built.steps.get("BTF [M]", 0)
    reporter.note(f"{built.compiled} files compiled, BTF of {written} modules written")
    return built


def _keep_configuration(configured: Configured, directory: rundir.RunDirectory) -> None:
    rundir.write_text(directory.file("requested.config"), configured.requested_text)
    rundir.write_text(directory.file("kernel.config"), configured.path.read_text(errors="replace"))


def _tell_progress(reporter: Reporter) -> Callable[[kernel_build.Progress], None]:
    return lambda now: reporter.progress(f"{now.kind} {now.subject}".strip(), now.steps, now.total)


def _copy_kernel(
    built: kernel_build.Built, folder: Path, directory: rundir.RunDirectory, on_done: Counter
) -> None:
    _copy_files(folder, directory.modules / _SUBTREE, built.modules, on_done)
    for file in (built.vmlinux, built.system_map):
        _copy_files(file.parent, directory.kernel, [file.name])
    _copy_file(built.image, directory.image)


def _strip(built: kernel_build.Built, kbuild: Kbuild, directory: rundir.RunDirectory) -> None:
    """Strip the modules for the guest, where the next run of this build finds them."""
    stripped = kbuild.build_dir / ".kbtf-ci" / "stripped"
    files = [f"{_SUBTREE}/{file}" for file in built.modules]
    strip_modules(kbuild.runner, directory.modules, stripped, files, kbuild.jobs)
    _copy_files(stripped, directory.guest_modules, files)


def _copy_files(source: Path, target: Path, files: Sequence[str], on_done: Counter = uncounted) -> None:
    for done, file in enumerate(files, 1):
        _copy_file(source / file, target / file)
        on_done(done, len(files))


def _copy_file(source: Path, target: Path) -> None:
    """Copy with the modification time, by which a stripped module knows its original."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    except OSError as error:
        raise InfrastructureError(f"{target}: cannot be written: {error.strerror}") from error


def _below_subtree(reasons: Mapping[str, str]) -> dict[str, str]:
    """Kbuild names modules by their path in the build directory, a run by the one that they install to."""
    return {f"{_SUBTREE}/{file}": reason for file, reason in reasons.items()}
