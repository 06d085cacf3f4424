# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A build directory booted as it stands: what the kernel says of its modules' BTF, each as a carrier."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra.record import Record, Reporter
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.infra.runs import Run, begun
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.model.options import BuildOptions
from kbtf_ci.model.outcome import LoadPolicy
from kbtf_ci.model.prediction import disagreements
from kbtf_ci.model.regeneration import Boot
from kbtf_ci.model.run_record import GuestProfile
from kbtf_ci.workflow import verify as verification
from kbtf_ci.workflow.guests import GuestOptions
from kbtf_ci.workflow.workspace import kernel_of_build


def boot(kbuild: Kbuild, accel: Accel, reporter: Reporter) -> Boot:
    """Boot the kernel of a build directory and load carriers of its modules.

    A module that is missing is left out. Raises KbtfError for what fails before the guest.
    """
    with _passing_run(kbuild, reporter) as this:
        options = GuestOptions(accel, load=LoadPolicy.CARRIER)
        verdict = verification.verify(kernel_of_build(kbuild), options, kbuild.runner, this)
    return Boot(
        accel=verdict.guest.accel if verdict.guest else "",
        boot_s=verdict.guest.boot_s if verdict.guest else 0.0,
        outcomes={one.module.file: one.outcome for one in verdict.results},
        disagreements=tuple(
            one.result.module.file for one in disagreements(verdict.predictions, verdict.results)
        ),
        error=verdict.error,
    )


@contextmanager
def _passing_run(kbuild: Kbuild, reporter: Reporter) -> Iterator[Run]:
    """Give a run whose directory is there as long as it is needed."""
    directory = RunDirectory(kbuild.build_dir / ".kbtf-ci" / "boot")
    shutil.rmtree(directory.path, ignore_errors=True)
    try:
        try:
            directory.kernel.mkdir(parents=True)
        except OSError as error:
            raise InfrastructureError(f"{directory.path}: cannot be made: {error.strerror}") from error
        record = begun("", BuildOptions(config="", jobs=kbuild.jobs), GuestProfile(name=""))
        yield Run(directory, Record(directory, reporter, record), reporter)
    finally:
        shutil.rmtree(directory.path, ignore_errors=True)
