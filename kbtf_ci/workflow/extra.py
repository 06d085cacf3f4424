# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules that the user gave besides the kernel's own: put among them in the run directory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.guest.needs import loaded_first
from kbtf_ci.infra.rundir import RunDirectory
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.model.module import Module, closure
from kbtf_ci.objfile.depmod import EXTRA, is_extra
from kbtf_ci.objfile.inventory import inventory
from kbtf_ci.workflow.guests import GuestOptions


def with_extra(kernel: BuiltKernel, options: GuestOptions, directory: RunDirectory) -> BuiltKernel:
    """Return the kernel with the modules that ``options`` names, and without those of an earlier call.

    With ``extra_only`` the rest are just what these need, and what the guest does. Raises UsageError for two
    of one name, InfrastructureError on a full disk.
    """
    if kernel.modules != directory.modules:
        return kernel  # a build directory, which nothing is put into
    place = directory.modules / EXTRA
    shutil.rmtree(place, ignore_errors=True)
    if not options.extra:
        return kernel
    if kernel.files is not None:
        added = tuple(f"{EXTRA}/{path.name}" for path in options.extra)
        kernel = replace(kernel, files=(*kernel.files, *added))
    _place(options.extra, place)
    return _needed(kernel) if options.extra_only else kernel


def _place(files: Sequence[Path], place: Path) -> None:
    names: dict[str, Path] = {}
    for path in files:
        if (other := names.setdefault(path.name, path)) is not path:
            raise UsageError(f"--extra {other} and {path}: two files of one name")
    try:
        place.mkdir()
        for path in files:
            shutil.copyfile(path, place / path.name)
    except OSError as error:
        raise InfrastructureError(f"{place}: cannot be written: {error.strerror}") from error


def _needed(kernel: BuiltKernel) -> BuiltKernel:
    listed = inventory(kernel.modules, kernel.skipped_btf, kernel.files).modules
    wanted = closure((module.name for module in listed if is_extra(module.file)), listed)
    early = {module.name for module in _early(kernel, listed)}
    kept = [one.stored for one in listed if is_extra(one.file) or one.name in wanted | early]
    return replace(kernel, files=tuple(kept))


def _early(kernel: BuiltKernel, listed: Sequence[Module]) -> Sequence[Module]:
    """Return the modules that the guest needs to come up."""
    if kernel.builtin is None:
        return ()
    readable = [module for module in listed if not module.fault]
    machine = machine_of(kernel.architecture, kernel.origin)
    return loaded_first(readable, kernel.builtin, kernel.config or None, machine)
