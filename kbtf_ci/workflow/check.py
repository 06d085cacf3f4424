# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci check``: which kernel, which modules, by which rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kbtf_ci.btf.predict.assess import kernel_version
from kbtf_ci.btf.predict.sweep import KernelSpec, sweep
from kbtf_ci.btf.rules.versions import Version
from kbtf_ci.errors import ExitCode, UsageError, file_error
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.objfile.files import KernelFile, parse_config, read_kernel_file, read_module_file
from kbtf_ci.objfile.inventory import module_files
from kbtf_ci.report import check as report

_MISMATCH = "CONFIG_MODULE_ALLOW_BTF_MISMATCH"


@dataclass(frozen=True)
class CheckOptions:
    """What the user asked for; ``allow_mismatch`` None leaves it to the kernel's configuration."""

    modules: tuple[Path, ...]
    vmlinux: Path | None = None
    version: str = ""
    allow_mismatch: bool | None = None
    config: Path | None = None
    jobs: int = 1


@dataclass(frozen=True)
class Checked:
    """What was predicted, of which kernel."""

    release: str
    version: Version
    predictions: tuple[Prediction, ...]

    @property
    def exit_code(self) -> ExitCode:
        """0 when every module's BTF is taken and belongs to this vmlinux, else 1."""
        fine = all(one.is_fine for one in self.predictions)
        return ExitCode.VERIFIED if fine else ExitCode.NOT_VERIFIED

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        return report.text(self.release, self.version, self.predictions)

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        return report.document(self.release, self.version, self.predictions)


def check(options: CheckOptions, reporter: Reporter) -> Checked:
    """Return what the kernel will say of every module. Raises UsageError for what cannot be read."""
    options = _with_run_directory(options)
    if options.vmlinux is None:
        raise UsageError(
            "check wants a kernel", hint="--vmlinux FILE, or a run directory in the place of modules"
        )
    reporter.stage("check")
    kernel = read_kernel_file(options.vmlinux)
    paths = tuple(path for given in options.modules for path in module_files(given))
    version = _version(options, kernel, paths[0])
    facts = KernelSpec(kernel, version, _config(options, kernel, reporter))
    found = sweep(facts, paths, options.jobs, lambda done: reporter.progress(f"{done} of {len(paths)}"))
    return Checked(kernel.release, version, found)


def _with_run_directory(options: CheckOptions) -> CheckOptions:
    """Take kernel, configuration and modules from a run directory that is named instead of them."""
    if options.vmlinux is not None or len(options.modules) != 1:
        return options
    run = RunDirectory(options.modules[0])
    if not run.run_json.is_file():
        return options
    run.read_built()
    config = options.config or run.file("kernel.config")
    return replace(options, vmlinux=run.kernel / "bzImage", modules=(run.modules,), config=config)


def _version(options: CheckOptions, kernel: KernelFile, first: Path) -> Version:
    modules = () if options.version or kernel.release else (read_module_file(first),)
    return kernel_version(options.version, kernel, modules)


def _config(options: CheckOptions, kernel: KernelFile, reporter: Reporter) -> Mapping[str, str]:
    """Return the configuration: the file named, the kernel's own, or ``config-<release>`` beside it."""
    path = options.config or kernel.path.parent / f"config-{kernel.release}"
    values = _read_config(path) if options.config or path.is_file() else dict(kernel.config or {})
    if options.allow_mismatch is not None:
        values[_MISMATCH] = "y" if options.allow_mismatch else "n"
    elif not values:
        reporter.warn(f"no configuration of {kernel.path} at hand: {_MISMATCH} is taken to be off")
    return values


def _read_config(path: Path) -> dict[str, str]:
    try:
        return parse_config(path.read_text(errors="replace"))
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
