# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A run under way: in a folder of its own, or over what an earlier one left in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kbtf_ci import __version__
from kbtf_ci.errors import UsageError
from kbtf_ci.infra import rundir
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Record, Reporter
from kbtf_ci.model.options import BuildOptions, PrebuiltOptions
from kbtf_ci.model.run_record import GuestProfile, RunRecord


@dataclass(frozen=True)
class Run:
    """One run under way: its folder, its record, and who is told of it."""

    directory: rundir.RunDirectory
    record: Record
    reporter: Reporter


def begun(command: str, options: BuildOptions | PrebuiltOptions, profile: GuestProfile) -> RunRecord:
    """Return the record of a run that begins now; ``command`` repeats it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return RunRecord.begin(
        started=now, kbtf_ci=__version__, command=command, options=options, profile=profile
    )


@contextmanager
def new_run(output: Path | None, begin: RunRecord, reporter: Reporter) -> Iterator[Run]:
    """Give a run in a folder of its own, ``output`` or ``runs/<UTC time>-<profile>``, held for this command.

    A call that is refused before there is a kernel leaves no folder, and ``latest`` as it was; any other end
    lets ``latest`` point at the run. Raises UsageError for a folder that is not empty or cannot be made.
    """
    cache_root()  # one that cannot be used is refused before there is a folder
    existed = output is not None and output.is_dir()
    directory = rundir.create_default(begin.profile.name) if output is None else rundir.create(output)
    record = Record(directory, reporter, begin)
    refused = False
    with directory.locked(reporter.note):
        try:
            yield Run(directory, record, reporter)
        except UsageError:
            refused = record.run.kernel is None
            raise
        finally:
            if refused:
                rundir.discard(directory, keep_folder=existed)
            elif output is None:
                rundir.point_latest(directory)


@contextmanager
def old_run(path: Path, reporter: Reporter) -> Iterator[Run]:
    """Give the run that a folder holds, held for this command. Raises UsageError when it has no kernel."""
    directory = rundir.RunDirectory(path.resolve())
    directory.read_built()  # what is no run is refused without a lock left in it
    with directory.locked(reporter.note):
        yield Run(directory, Record(directory, reporter, directory.read_built()), reporter)
