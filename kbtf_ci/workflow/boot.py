# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A build directory booted as it stands: what the kernel says of its modules' BTF, each as a carrier."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra.record import Record, Reporter
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.kernel.kbuild import BZIMAGE, Kbuild
from kbtf_ci.model.kernel import KernelFacts
from kbtf_ci.model.outcome import LoadPolicy, ModuleResult
from kbtf_ci.model.prediction import disagreements
from kbtf_ci.model.regeneration import Boot
from kbtf_ci.workflow import verify as verification
from kbtf_ci.workflow.verify import GuestOptions, Run

_SUBTREE = "kernel"  # below /lib/modules/<release>, as modules_install has it


def boot(kbuild: Kbuild, accel: Accel, reporter: Reporter) -> Boot:
    """Boot the kernel of a build directory and load carriers of its modules.

    A module that is missing is left out. Raises KbtfError for what fails before the guest.
    """
    there = [file for file in kbuild.modules if (kbuild.build_dir / file).is_file()]
    with _run_directory(kbuild.build_dir, there) as directory:
        facts = {
            "kernel": asdict(KernelFacts(kbuild.release, config_sha256="", pahole="", compiler="")),
            "profile": {"memory_mib": None, "cpus": 1},
            "skipped_btf": {},
        }
        this = Run(directory, Record(directory, reporter, facts), reporter)
        verdict = verification.verify(GuestOptions(accel, load=LoadPolicy.CARRIER), kbuild.runner, this)
    return Boot(
        accel=verdict.guest.accel if verdict.guest else "",
        boot_s=verdict.guest.boot_s if verdict.guest else 0.0,
        outcomes={_file(one): one.outcome for one in verdict.results},
        disagreements=tuple(_file(one.result) for one in disagreements(verdict.predictions, verdict.results)),
        error=verdict.error,
    )


def _file(result: ModuleResult) -> str:
    """Return a module's path below the build directory."""
    return result.module.file.removeprefix(f"{_SUBTREE}/")


@contextmanager
def _run_directory(build_dir: Path, files: Sequence[str]) -> Iterator[RunDirectory]:
    """Give a run directory whose modules are links to the build's, as long as it is needed."""
    directory = RunDirectory(build_dir / ".kbtf-ci" / "boot")
    try:
        _fill(directory, build_dir, files)
        yield directory
    finally:
        shutil.rmtree(directory.path, ignore_errors=True)


def _fill(directory: RunDirectory, build_dir: Path, files: Sequence[str]) -> None:
    shutil.rmtree(directory.path, ignore_errors=True)
    try:
        directory.kernel.mkdir(parents=True)
        shutil.copyfile(build_dir / BZIMAGE, directory.kernel / "bzImage")
        shutil.copyfile(build_dir / ".config", directory.file("kernel.config"))
        for file in files:
            link = directory.modules / _SUBTREE / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(build_dir / file)
    except OSError as error:
        raise InfrastructureError(f"{directory.path}: cannot be filled: {error.strerror}") from error
