# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The run directory: the folder that holds everything one run made (docs/architecture.md, section 7)."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kbtf_ci.errors import InfrastructureError, UsageError, file_error
from kbtf_ci.infra.locks import exclusive

RUN_SCHEMA = "kbtf-ci/run/1"


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
    def kernel(self) -> Path:
        """Kernel image, vmlinux and System.map."""
        return self.path / "kernel"

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
    def guest_carriers(self) -> Path:
        """Their carriers, where the guest carries those in their place."""
        return self.guest / "carriers"

    def file(self, name: str) -> Path:
        """Return the path of a file at the top of the folder."""
        return self.path / name

    def read_run(self) -> dict[str, Any]:
        """Return run.json. Raises UsageError when the folder holds no run."""
        try:
            values: dict[str, Any] = json.loads(self.run_json.read_text())
        except OSError as error:
            raise file_error(error, self.path, "holds no run (run.json)") from error
        except ValueError as error:
            raise UsageError(f"{self.path}: holds no run (run.json: {error})") from error
        if values.get("schema") != RUN_SCHEMA:
            raise UsageError(f"{self.run_json}: schema {values.get('schema')!r}, expected {RUN_SCHEMA!r}")
        return values

    def read_built(self) -> dict[str, Any]:
        """Return run.json of a run that has a kernel. Raises UsageError when there is none."""
        values = self.read_run()
        if "kernel" not in values:
            raise UsageError(
                f"{self.path}: its kernel was never built to the end", hint="kbtf-ci run makes a new one"
            )
        return values

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

    def write_run(self, values: Mapping[str, Any]) -> None:
        """Replace run.json, whole or not at all."""
        write_json(self.run_json, {"schema": RUN_SCHEMA, **values})


def default_path(profile: str, now: datetime | None = None) -> Path:
    """Return ``runs/<UTC time>-<profile>`` below the current directory."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return Path("runs") / f"{moment}-{profile}"


def create(path: Path) -> RunDirectory:
    """Make the folder of a new run. Raises UsageError when it is not empty or cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"-o {path}: not empty; a run is never overwritten", hint="name a new folder")
        probe = path / ".write-test"
        probe.touch()
        probe.unlink()
        run = RunDirectory(path.resolve())
        run.kernel.mkdir()
    except OSError as error:
        raise file_error(error, f"-o {path}", "cannot be written") from error
    return run


def point_latest(run: RunDirectory) -> None:
    """Let ``latest`` beside the run's folder point at it."""
    link = run.path.parent / "latest"
    fresh = run.path.parent / f".latest-{os.getpid()}"
    fresh.symlink_to(run.path.name)
    fresh.replace(link)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON to ``path``, whole or not at all."""
    write_text(path, json.dumps(values, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write ``path`` by way of a temporary file and a rename. Raises InfrastructureError on a full disk."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
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
