# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel that others built runs on, and whether its modules do."""

from __future__ import annotations

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.laid_out import Prebuilt
from kbtf_ci.model.architecture import of_elf
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import machine_of
from kbtf_ci.objfile.boot_kernel import read_architecture
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT, ElfImage
from kbtf_ci.objfile.inventory import module_files


def machine_for(found: Prebuilt, wanted: str = "") -> MachineType:
    """Return what the kernel runs on; ``wanted`` is the user's word for the architecture, "" for none.

    Raises UsageError where nothing says it, where image and user differ or image and modules do, and where no
    guest of ours runs on it.
    """
    told = read_architecture(found.image)
    if told is None and not wanted:
        raise UsageError(
            f"{found.image}: does not say which architecture it is for", hint="name it with --arch"
        )
    if told is not None and wanted and told.name != wanted:
        raise UsageError(f"{found.image}: a kernel for {told.name}, and --arch says {wanted}")
    machine = machine_of(wanted or (told.name if told else ""), str(found.image))
    _check_modules(found, machine)
    return machine


def _check_modules(found: Prebuilt, machine: MachineType) -> None:
    """Raise UsageError where the modules, by the first of them, are for another architecture."""
    for path in module_files(found.modules):
        try:
            image = ElfImage(load(path, MODULE_LIMIT), str(path))
        except UsageError:
            continue  # whatever it is, its own verdict says so
        own = of_elf(image.machine, 8 * image.pointer_bytes, image.byte_order)
        if own != machine.architecture:
            raise UsageError(
                f"{path}: a module for {own.name}, and the kernel {found.image} is for {machine.name}",
                hint="a kernel loads its own modules only: name both of one build",
            )
        return
