# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""``kbtf-ci check``: which kernel, which modules, by which rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kbtf_ci.btf.predict.assess import kernel_version
from kbtf_ci.btf.predict.kernel_btf import (
    JudgedBy,
    judged_by,
    require_base,
    require_split_btf,
    unusable_of,
)
from kbtf_ci.btf.predict.sweep import KernelSpec, sweep
from kbtf_ci.btf.rules.loader import FOREIGN
from kbtf_ci.btf.rules.versions import Rules, doubt
from kbtf_ci.errors import ExitCode, UsageError, file_error
from kbtf_ci.infra.paths import cache_root
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.kernel.prebuilt import find
from kbtf_ci.model.config import parse_config
from kbtf_ci.model.options import PrebuiltOptions
from kbtf_ci.model.prediction import Prediction
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.version import Version
from kbtf_ci.objfile.elf import unpacked_name
from kbtf_ci.objfile.files import (
    BTF_MODULE,
    EXTRA,
    KernelFile,
    open_kernel,
    read_kernel_file,
    read_module_file,
)
from kbtf_ci.objfile.inventory import module_files
from kbtf_ci.report import check as report
from kbtf_ci.workflow.initramfs import stale

_MISMATCH = "CONFIG_MODULE_ALLOW_BTF_MISMATCH"


@dataclass(frozen=True)
class CheckOptions:
    """What the user asked for; ``allow_mismatch`` None leaves it to the kernel's configuration.

    ``run_config`` is that of the run directory among ``modules``, for a kernel which has none. ``kernel`` is
    one that others built, whose own modules are judged where none are named.
    """

    modules: tuple[Path, ...]
    vmlinux: Path | None = None
    version: str = ""
    allow_mismatch: bool | None = None
    config: Path | None = None
    run_config: Path | None = None
    jobs: int = 1
    kernel: PrebuiltOptions | None = None


@dataclass(frozen=True)
class Checked:
    """What was predicted, of which kernel; ``unusable`` are its own kfuncs that no BPF program can call.

    ``architecture`` is its name, "" where the file does not say.
    """

    release: str
    rules: Rules
    predictions: tuple[Prediction, ...]
    warnings: tuple[str, ...] = ()
    unusable: tuple[Unusable, ...] = ()
    architecture: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """0 when every module's BTF is taken, belongs to this vmlinux, and programs can use it, else 1."""
        fine = all(one.is_fine for one in self.predictions) and not self.unusable
        return ExitCode.VERIFIED if fine else ExitCode.NOT_VERIFIED

    def text(self) -> Iterator[str]:
        """Yield the lines that a person reads."""
        kernel = self.release or "kernel"
        name = f"{kernel} ({self.architecture})" if self.architecture else kernel
        return report.text(name, self.rules.version, self.predictions, self.unusable)

    def document(self) -> Mapping[str, object]:
        """Return the JSON document."""
        return report.document(
            self.release,
            self.rules.version,
            self.predictions,
            self.warnings,
            read_off=sorted(self.rules.read_off),
            unusable=self.unusable,
            architecture=self.architecture,
        )


def check(options: CheckOptions, reporter: Reporter) -> Checked:
    """Return what the kernel will say of every module.

    Raises UsageError for what cannot be read, and for a kernel that cannot be judged by.
    """
    options = _with_run_directories(options)
    options, of_initramfs = _with_named_kernel(options, reporter)
    if options.vmlinux is None:
        raise UsageError(
            "check wants a kernel",
            hint="--vmlinux FILE, --kernel PACKAGE, or a run directory in the place of modules",
        )
    reporter.stage("check")
    listed = tuple(dict.fromkeys(path for given in options.modules for path in module_files(given)))
    paths = tuple(path for path in listed if not _is_btf_module(path))
    carrier = next((path for path in listed if _is_btf_module(path)), None)
    opened = open_kernel(options.vmlinux, carrier)
    kernel = opened.file
    require_base(kernel)
    version = _version(options, kernel, paths)
    config = _config(options, kernel)
    # Who names a version says whose kernel/bpf/btf.c it is.
    judged = JudgedBy(Rules.for_version(version)) if options.version else judged_by(kernel, version)
    _require_known_kinds(kernel, judged)
    warnings = (
        *_warnings(kernel, version, config, options),
        *_coming(kernel, judged),
        *_carried(kernel, carrier),
        *of_initramfs,
    )
    for text in warnings:
        reporter.warn(text)
    rules = judged.rules
    spec = KernelSpec(kernel, rules, config)
    found = sweep(spec, paths, options.jobs, lambda done: reporter.progress("", done, len(paths)))
    _require_own_modules(kernel, found)
    architecture = kernel.architecture.name if kernel.architecture else ""
    return Checked(kernel.release, rules, found, warnings, unusable_of(opened, version), architecture)


def _is_btf_module(path: Path) -> bool:
    """Whether this is the module with vmlinux's own BTF, by its name, as the kernel knows it."""
    return unpacked_name(path.name).removesuffix(".ko").replace("-", "_") == BTF_MODULE


def _require_own_modules(kernel: KernelFile, found: Sequence[Prediction]) -> None:
    """Raise UsageError where not one module is of the kernel's architecture: then it is the wrong folder."""
    if not found or any(one.rule != FOREIGN for one in found) or kernel.architecture is None:
        return
    own = read_module_file(Path(found[0].file)).architecture
    told = own.name if own else "no known architecture"
    raise UsageError(
        f"{found[0].file}: a module for {told}, and the kernel {kernel.path} is for "
        f"{kernel.architecture.name} (so with each of {len(found):,} modules)",
        hint="name kernel and modules of one build",
    )


def _require_known_kinds(kernel: KernelFile, judged: JudgedBy) -> None:
    """Raise UsageError for a kernel that knows kinds which cannot even be stepped over."""
    if judged.newer and not judged.stepped_over and judged.rules.newest_kind:
        raise UsageError(
            f"{kernel.path}: {judged.newer}",
            hint="the kernel knows more kinds than this kbtf-ci: take a newer kbtf-ci",
        )


def _coming(kernel: KernelFile, judged: JudgedBy) -> Iterator[str]:
    """Yield what of the kernel's file is of newer formats, and is not judged."""
    if judged.newer:
        yield f"{kernel.path}: {judged.newer}"
    if kernel.extra_bytes:
        yield f"{kernel.path}: holds {EXTRA} ({kernel.extra_bytes:,} bytes), which is not judged"


def _carried(kernel: KernelFile, carrier: Path | None) -> Iterator[str]:
    """Yield what comes of btf_vmlinux.ko among the modules: it is no module with split BTF."""
    if carrier is None:
        return
    same = read_kernel_file(carrier).btf == kernel.btf
    what = "is taken for vmlinux's" if same else "is not vmlinux's, and the kernel would not take it"
    yield f"{carrier}: its .BTF {what}; it is not judged as a module's"


def _with_run_directories(options: CheckOptions) -> CheckOptions:
    """Put the modules of a run directory in its place, and its kernel and configuration where none is named.

    What lies below its ``guest`` are copies. Raises UsageError where kernels of several would be meant.
    """
    runs = {path: RunDirectory(path) for path in options.modules}
    runs = {path: run for path, run in runs.items() if run.run_json.is_file()}
    modules = tuple(runs[path].modules if path in runs else path for path in options.modules)
    options = replace(options, modules=modules)
    if options.vmlinux is None and options.kernel is None and len(runs) > 1:
        raise UsageError(
            f"{len(runs)} run directories, each with a kernel of its own", hint="name one: --vmlinux"
        )
    if len(runs) != 1:
        return options
    (run,) = runs.values()
    config = run.file("kernel.config")
    options = replace(options, run_config=config if config.is_file() else None)
    if options.vmlinux is not None or options.kernel is not None:
        return options
    run.read_built()
    return replace(options, vmlinux=run.image, config=options.config or options.run_config)


def _with_named_kernel(options: CheckOptions, reporter: Reporter) -> tuple[CheckOptions, tuple[str, ...]]:
    """Put image, configuration and modules of a kernel that others built in their places.

    Beside them is what is to be said of an initramfs.
    """
    named = options.kernel
    if named is None:
        return options, ()
    unpacked = partial(reporter.progress, "packages")
    cache = cache_root() / "packages"
    found = find(
        named.kernel, named.modules, cache, None, unpacked, initramfs=named.initramfs, root=named.root
    )
    modules = options.modules or (found.modules,)
    config = options.config or found.config
    return replace(options, vmlinux=found.image, modules=modules, config=config), tuple(stale(found))


def _version(options: CheckOptions, kernel: KernelFile, paths: Sequence[Path]) -> Version:
    """Return the version to judge by; modules are asked for it, one by one, where nothing else says it."""
    asked = () if options.version or kernel.release else map(read_module_file, paths)
    version = kernel_version(options.version, kernel, asked)
    source = f"--kernel-version {options.version}" if options.version else str(kernel.path)
    require_split_btf(version, source)
    return version


def _config(options: CheckOptions, kernel: KernelFile) -> dict[str, str]:
    """Return the configuration: as named, ``config-<release>`` beside the kernel, embedded, the run's."""
    beside = kernel.path.parent / f"config-{kernel.release}"
    if options.config is not None:
        values = _read_config(options.config)
    elif kernel.release and beside.is_file():
        values = _read_config(beside)
    elif kernel.config is not None:
        values = dict(kernel.config)
    else:
        values = _read_config(options.run_config) if options.run_config else {}
    if options.allow_mismatch is not None:
        values[_MISMATCH] = "y" if options.allow_mismatch else "n"
    return values


def _warnings(
    kernel: KernelFile, version: Version, config: Mapping[str, str], options: CheckOptions
) -> Iterator[str]:
    """Yield what makes the predictions less sure."""
    unsure = doubt(version)
    if unsure:
        yield unsure
    if not config and options.allow_mismatch is None:
        yield f"no configuration of {kernel.path} at hand: {_MISMATCH} is taken to be off"


def _read_config(path: Path) -> dict[str, str]:
    try:
        return parse_config(path.read_text(errors="replace"))
    except OSError as error:
        raise file_error(error, path, "cannot be read") from error
