# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The module that cases are made of: the smallest of a kernel that has all that they alter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from kbtf_ci.btf.cases.case import Healthy
from kbtf_ci.btf.cases.catalogue import lacks
from kbtf_ci.btf.format.reader import Btf, BtfError
from kbtf_ci.errors import UsageError
from kbtf_ci.model.kernel import BuiltKernel
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT, unpacked_name
from kbtf_ci.objfile.files import KernelFile, ModuleFile, read_module_file
from kbtf_ci.workflow.intake import module_paths

# Among so many of the smallest one serves; a kernel where none does has hardly any modules.
_TRIED: Final = 400


def find_subject(kernel: BuiltKernel, file: KernelFile) -> Healthy:
    """Return the smallest module that serves for all cases, or else for most.

    Raises UsageError for a kernel without a module that has split BTF, or whose own BTF cannot be read.
    """
    paths = sorted(module_paths(kernel), key=lambda path: (path.stat().st_size, path.name))
    best: tuple[int, Healthy] | None = None
    for one in _healthy(paths, file):
        missing = len(lacks(one))
        if best is None or missing < best[0]:
            best = missing, one
        if not missing:
            break
    if best is None:
        raise UsageError(f"{kernel.modules}: no module with split BTF of its own, which cases are made of")
    return best[1]


def _healthy(paths: list[Path], file: KernelFile) -> Iterator[Healthy]:
    try:
        vmlinux = Btf.parse(file.btf)
    except BtfError as error:
        raise UsageError(f"{file.path}: {error.message}") from error
    by_name = {unpacked_name(path.name).removesuffix(".ko").replace("-", "_"): path for path in paths}

    def find(name: str) -> bytes | None:
        return bytes(load(by_name[name], MODULE_LIMIT)[:]) if name in by_name else None

    for path in paths[:_TRIED]:
        module = _readable(path)
        if module is None or module.image is None or not module.btf or module.base is not None:
            continue
        healthy = Healthy(module.name, bytes(module.image.data[:]), module.btf, vmlinux, file.btf, find)
        try:
            healthy.own  # noqa: B018 - asked for its error
        except BtfError:
            continue
        yield healthy


def _readable(path: Path) -> ModuleFile | None:
    try:
        return read_module_file(path)
    except UsageError:
        return None
