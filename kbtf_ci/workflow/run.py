# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The story of a run, and the only place where the stages meet.

profile -> source -> toolchain image -> configure -> build -> inventory -> guest image -> guest ->
observations -> verdict -> report. Each stage hands on one frozen value and never reaches back.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from kbtf_ci import __version__
from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.accel import choose
from kbtf_ci.guest.guest import booted
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra import rundir
from kbtf_ci.infra.profiles import Profile, find_profile
from kbtf_ci.infra.record import Record, Reporter
from kbtf_ci.kernel import build as kernel_build
from kbtf_ci.kernel.kconfig import Configured, configure
from kbtf_ci.kernel.pahole import ask_kbuild
from kbtf_ci.kernel.strip import strip_modules
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.objfile.inventory import inventory, require
from kbtf_ci.workflow import verify as verification
from kbtf_ci.workflow import workspace
from kbtf_ci.workflow.verify import GuestOptions, Run, Verdict, new_run, whole_guest
from kbtf_ci.workflow.workspace import Tools, toolchain


def run(
    options: BuildOptions, guest: GuestOptions, output: Path | None, command: str, reporter: Reporter
) -> Verdict:
    """Build a kernel, boot it and judge every module. What a failed guest left out is NOT_REACHED.

    Raises KbtfError for whatever fails before the guest.
    """
    profile = find_profile(options.config)
    with _new_run(options, profile, output, command, reporter) as this, this.record.track():
        tools = _tools(options.suite, this)
        _require_kvm(guest.accel, tools, this)
        _build(options, profile, tools, this)
        return verification.verify(guest, tools.runner, this)


def build(
    options: BuildOptions, output: Path | None, command: str, reporter: Reporter
) -> rundir.RunDirectory:
    """Build a kernel into a new run directory, without booting it."""
    profile = find_profile(options.config)
    with _new_run(options, profile, output, command, reporter) as this, this.record.track():
        _build(options, profile, _tools(options.suite, this), this)
    return this.directory


def verify(path: Path, guest: GuestOptions, reporter: Reporter) -> Verdict:
    """Boot the kernel of a run directory and judge its modules as they are in it now."""
    with _old_run(path, reporter) as this, this.record.track():
        tools = _tools(_suite(this), this)
        _require_kvm(guest.accel, tools, this)
        return verification.verify(guest, tools.runner, this)


def shell(path: Path, options: GuestOptions, reporter: Reporter) -> int:
    """Boot the kernel of a run directory and connect this process's input and output to a shell in it.

    Returns the shell's exit status.
    """
    with _old_run(path, reporter) as this:
        runner = toolchain(_suite(this), reporter).runner
        spec = whole_guest(options, runner, this)
        accel = choose(runner, spec.accel, reporter.warn)
        console = this.directory.file("shell-console.log")
        with booted(runner, spec, accel, console, reporter.warn) as guest:
            return guest.shell.interact()


@contextmanager
def _new_run(
    options: BuildOptions, profile: Profile, output: Path | None, command: str, reporter: Reporter
) -> Iterator[Run]:
    facts = {
        "kbtf_ci": __version__,
        "command": command,
        "wishes": options.facts(),
        "profile": {"name": profile.name, "memory_mib": profile.memory_mib, "cpus": profile.cpus},
    }
    with new_run(output, profile.name, facts, reporter) as this:
        yield this


@contextmanager
def _old_run(path: Path, reporter: Reporter) -> Iterator[Run]:
    directory = rundir.RunDirectory(path.resolve())
    directory.read_built()  # what is no run is refused without a lock left in it
    with directory.locked(reporter.note):
        yield Run(directory, Record(directory, reporter, directory.read_built()), reporter)


def _suite(this: Run) -> str:
    suite: str = this.record.facts["wishes"]["suite"]
    return suite


def _tools(suite: str, this: Run) -> Tools:
    with this.record.stage("toolchain"):
        tools = toolchain(suite, this.reporter)
    this.record.add(toolchain=asdict(tools.image))
    return tools


def _require_kvm(accel: Accel, tools: Tools, this: Run) -> None:
    """Refuse ``--accel kvm`` where it does not run before an hour's build, or over earlier results."""
    if accel is Accel.KVM:
        choose(tools.runner, accel, this.reporter.warn)


def _build(options: BuildOptions, profile: Profile, tools: Tools, this: Run) -> None:
    record, reporter, directory = this.record, this.reporter, this.directory
    with record.stage("source"):
        source = workspace.source(options, tools, reporter)
        record.add(source={"version": source.version, "origin": source.origin})
    folder = workspace.build_folder(source, profile, options)
    with workspace.locked_build_dir(folder, reporter):
        kbuild = workspace.kbuild(options, tools, source, folder)
        with record.stage("configure"):
            configured = configure(kbuild, profile, options.added)
            _keep_configuration(configured, directory)
        with record.stage("build"):
            kernel_build.check_disk(folder, profile.disk_mib)
            built = kernel_build.build(kbuild, directory.file("build.log"), _tell_progress(reporter))
            written = built.steps.get("BTF [M]", 0)
            reporter.note(f"{built.compiled} files compiled, BTF of {written} modules written")
            pahole = ask_kbuild(kbuild)
        with record.stage("inventory"):
            _copy_kernel(built, folder, directory)
            modules = inventory(directory.modules, _skipped(built.skipped_btf)).modules
            require(profile.require, modules)
            size = sum(module.btf_bytes for module in modules)
            reporter.note(f"{len(modules)} modules, {size:,} bytes of split BTF")
        with record.stage("strip"):
            files = [module.file for module in modules]
            stripped = folder / ".kbtf-ci" / "stripped"
            strip_modules(tools.runner, directory.modules, stripped, files, options.jobs)
            _copy_files(stripped, directory.guest_modules, files)
    record.add(
        kernel=asdict(_kernel_facts(built, configured)),
        make=dict(built.steps),
        pahole=pahole.facts(),
        skipped_btf=_skipped(built.skipped_btf),
    )


def _keep_configuration(configured: Configured, directory: rundir.RunDirectory) -> None:
    rundir.write_text(directory.file("requested.config"), configured.requested_text)
    rundir.write_text(directory.file("kernel.config"), configured.path.read_text(errors="replace"))


def _tell_progress(reporter: Reporter) -> Callable[[kernel_build.Progress], None]:
    return lambda now: reporter.progress(f"{now.steps} steps, {now.kind} {now.subject}")


def _copy_kernel(built: kernel_build.Built, folder: Path, directory: rundir.RunDirectory) -> None:
    images = [built.bzimage, built.vmlinux, built.system_map]
    _copy_files(folder, directory.modules / "kernel", built.modules)
    for image in images:
        _copy_files(image.parent, directory.kernel, [image.name])


def _copy_files(source: Path, target: Path, files: Iterable[str]) -> None:
    """Copy with modification times, by which a stripped module knows its original."""
    try:
        for file in files:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / file, target / file)
    except OSError as error:
        raise InfrastructureError(f"{target}: cannot be written: {error.strerror}") from error


def _skipped(reasons: Mapping[str, str]) -> dict[str, str]:
    """Kbuild names modules by their path in the build directory, the inventory as below kernel/."""
    return {f"kernel/{file}": reason for file, reason in reasons.items()}


def _kernel_facts(built: kernel_build.Built, configured: Configured) -> KernelFacts:
    values = configured.values
    return KernelFacts(
        release=built.release,
        config_sha256=configured.sha256,
        pahole=values.get("PAHOLE_VERSION", ""),
        compiler=values.get("CC_VERSION_TEXT", "").strip('"'),
    )
