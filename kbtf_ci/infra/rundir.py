# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The run directory: the folder that holds everything one run made (docs/architecture.md, section 7)."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kbtf_ci.errors import InfrastructureError, UsageError, file_error
from kbtf_ci.infra.locks import exclusive
from kbtf_ci.model.config import parse_config
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.model.run_record import RunRecord

# A file name in a text may hold bytes that are no UTF-8 (PEP 383).
_NEVER_FAILS = "backslashreplace"


@dataclass(frozen=True)
class RunDirectory:
    """Paths below one run's folder."""

    path: Path

    @property
    def run_json(self) -> Path:
        """What ran."""
        return self.path / "run.json"

    @property
    def results_json(self) -> Path:
        """One entry a module."""
        return self.path / "results.json"

    @property
    def report_html(self) -> Path:
        """The report for a browser."""
        return self.path / "report.html"

    @property
    def kernel(self) -> Path:
        """Kernel image, vmlinux and System.map."""
        return self.path / "kernel"

    @property
    def image(self) -> Path:
        """The kernel image that boots."""
        return self.kernel / "bzImage"

    @property
    def modules(self) -> Path:
        """The modules as built, laid out as below /lib/modules/<release>."""
        return self.kernel / "modules"

    @property
    def guest(self) -> Path:
        """What is made for the guest alone: keys, initramfs."""
        return self.path / "guest"

    @property
    def guest_modules(self) -> Path:
        """The same modules without debug information, as the guest carries them."""
        return self.guest / "modules"

    @property
    def functions(self) -> Path:
        """The names of the functions that each module's BTF describes, as compressed JSON."""
        return self.kernel / "functions.json.gz"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder on the run's own disk that is gone at the end, whatever that is."""
        try:
            self.guest.mkdir(parents=True, exist_ok=True)
            folder = tempfile.TemporaryDirectory(dir=self.guest, prefix=".scratch-")
        except OSError as error:
            raise file_error(error, self.guest, "cannot be written") from error
        with folder as name:
            yield Path(name)

    def file(self, name: str) -> Path:
        """Return the path of a file at the top of the folder."""
        return self.path / name

    def read_record(self) -> RunRecord:
        """Return run.json. Raises UsageError when the folder holds no run, or one that cannot be read."""
        try:
            data = self.run_json.read_bytes()
        except OSError as error:
            raise file_error(error, self.path, "holds no run (run.json)") from error
        try:
            return RunRecord.parse(data)
        except ValueError as error:
            raise UsageError(f"{self.run_json}: not the record of a run: {error}") from error

    def read_built(self) -> RunRecord:
        """Return run.json of a run that has a kernel. Raises UsageError when there is none."""
        record = self.read_record()
        if record.kernel is None:
            raise UsageError(
                f"{self.path}: its kernel was never built to the end", hint="kbtf-ci run makes a new one"
            )
        return record

    def read_build(self) -> RunRecord:
        """Return run.json of a run that was built here, as read_built(); UsageError for one that was not."""
        record = self.read_built()
        try:
            record.build_options  # noqa: B018 - asked for its error
        except ValueError as error:
            raise UsageError(
                f"{self.path}: {error}", hint="name the run directory of kbtf-ci run or build"
            ) from error
        return record

    def kernel_of(self, record: RunRecord) -> BuiltKernel:
        """Return the kernel that a run with this record has left here."""
        prebuilt, source = record.prebuilt, record.source
        return BuiltKernel(
            facts=record.facts,
            image=self.image,
            modules=self.modules,
            config=self.read_config(),
            builtin=frozenset(prebuilt.builtin) if prebuilt else None,
            skipped_btf=record.skipped_btf,
            memory_mib=record.profile.memory_mib,
            cpus=record.profile.cpus,
            architecture=record.architecture,
            origin=prebuilt.origin if prebuilt else source.origin if source else "",
        )

    def read_config(self) -> dict[str, str]:
        """Return the kernel's configuration (``CONFIG_X`` to value), empty where the folder has none."""
        path = self.file("kernel.config")
        return parse_config(path.read_text(errors="replace")) if path.is_file() else {}

    @contextmanager
    def locked(self, note: Callable[[str], None]) -> Iterator[None]:
        """Hold the folder for one command that writes to it; ``note`` is told when another one has it.

        A folder that this user cannot write to needs no lock, and gets none.
        """
        if not os.access(self.path, os.W_OK):
            yield
            return
        with exclusive(
            self.file(".lock"), lambda: note(f"another command is using {self.path}; waiting for it")
        ):
            yield

    def write_record(self, record: RunRecord) -> None:
        """Replace run.json, whole or not at all."""
        write_json(self.run_json, record.document())


def create(path: Path) -> RunDirectory:
    """Make the folder of a new run. Raises UsageError when it is not empty or cannot be made."""
    run = RunDirectory(_empty(path))
    try:
        run.kernel.mkdir()
    except OSError as error:
        raise file_error(error, f"-o {path}", "cannot be written") from error
    return run


def new_folder(output: Path | None, name: str) -> Path:
    """Make the folder of what is made of several runs: ``output``, or ``runs/<UTC time>-<name>``.

    Raises UsageError when it is not empty or cannot be made.
    """
    return _empty(output) if output is not None else _empty(_default_folder(name))


def _empty(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"-o {path}: not empty; a run is never overwritten", hint="name a new folder")
        probe = path / ".write-test"
        probe.touch()
        probe.unlink()
        return path.resolve()
    except OSError as error:
        raise file_error(error, f"-o {path}", "cannot be written") from error


def create_default(name: str, now: datetime | None = None) -> RunDirectory:
    """Make ``runs/<UTC time>-<name>`` below the current directory, as ``create``.

    Where that is taken, as by a run of the same second, it is the first free one of ``-2``, ``-3`` and so on
    behind it.
    """
    return create(_default_folder(name, now))


def _default_folder(name: str, now: datetime | None = None) -> Path:
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    plain = Path("runs") / f"{moment}-{name}"
    try:
        plain.parent.mkdir(parents=True, exist_ok=True)
        return _take_free(plain)
    except OSError as error:
        raise file_error(error, f"-o {plain}", "cannot be written") from error


def _take_free(plain: Path) -> Path:
    """Make a folder that was not there: mkdir(2) gives it to one process alone."""
    path, number = plain, 1
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
            path = plain.with_name(f"{plain.name}-{number}")
        else:
            return path


def point_latest(run: RunDirectory) -> None:
    """Let ``latest`` beside the run's folder point at it."""
    link = run.path.parent / "latest"
    fresh = run.path.parent / f".latest-{os.getpid()}"
    fresh.symlink_to(run.path.name)
    fresh.replace(link)


def discard(run: RunDirectory, *, keep_folder: bool) -> None:
    """Remove what a refused run has made, and its folder, and an empty one above, unless it is to be kept."""
    for name in (run.kernel, run.guest):
        shutil.rmtree(name, ignore_errors=True)
    for file in (run.run_json, run.file("requested.config"), run.file("kernel.config"), run.file(".lock")):
        file.unlink(missing_ok=True)
    with suppress(OSError):
        if not keep_folder:
            run.path.rmdir()
            run.path.parent.rmdir()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON to ``path``, whole or not at all."""
    write_text(path, json.dumps(values, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``path`` by way of a temporary file and a rename. Raises InfrastructureError on a full disk."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}-", delete=False, encoding="utf-8", errors=_NEVER_FAILS
        ) as file:
            try:
                file.write(text)
                file.close()
                Path(file.name).chmod(0o644)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InfrastructureError(f"{path}: cannot be written: {error.strerror}") from error
