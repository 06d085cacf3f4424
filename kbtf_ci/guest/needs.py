# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a guest needs of a kernel that was not built for it, and what of that are modules. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from kbtf_ci.errors import UsageError
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.module import Module, closure, dependency_order

# What containers/guest/init stands on, and a kernel has built in or not at all.
_BUILT_IN: Final = (
    "CONFIG_BINFMT_ELF",
    "CONFIG_BINFMT_SCRIPT",
    "CONFIG_BLK_DEV_INITRD",
    "CONFIG_BPF_SYSCALL",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_DEBUG_INFO_BTF_MODULES",
    "CONFIG_DEVTMPFS",
    "CONFIG_INET",
    "CONFIG_PRINTK",
    "CONFIG_PROC_FS",
    "CONFIG_SYSFS",
    "CONFIG_TMPFS",
    "CONFIG_UNIX98_PTYS",
)


def built_in(machine: MachineType) -> tuple[str, ...]:
    """Return the symbols that a kernel has built in or not at all for a guest on this machine.

    Without the console's driver the guest would come up mute.
    """
    return tuple(sorted((*_BUILT_IN, machine.console_symbol, *machine.built_in)))


def loaded_first(
    modules: Iterable[Module],
    builtin: Collection[str],
    config: Mapping[str, str] | None,
    machine: MachineType,
) -> tuple[Module, ...]:
    """Return the modules that the guest loads before it has a network, each behind those it depends on.

    ``builtin`` holds the names of ``modules.builtin``, empty where there is no such list; ``config`` maps
    ``CONFIG_X`` to its value, None where it is not known. Raises UsageError naming every necessity that is
    neither built in nor a module. Where neither list nor config can tell, the guest's console will.
    """
    everything = tuple(modules)
    by_name = {module.name: module for module in everything}
    missing = [symbol for symbol in built_in(machine) if config is not None and config.get(symbol) != "y"]
    missing += [
        symbol
        for name, symbol in machine.drivers.items()
        if name not in by_name and _known_missing(name, symbol, builtin, config)
    ]
    if missing:
        raise UsageError(
            f"the guest cannot do without {', '.join(missing)}, and this kernel does",
            hint="switch them on in its configuration; drivers that are modules must be among the modules",
        )
    names = closure(machine.drivers, everything)
    _check_complete(names, by_name, builtin)
    return dependency_order(by_name[name] for name in names)


def _known_missing(
    name: str, symbol: str, builtin: Collection[str], config: Mapping[str, str] | None
) -> bool:
    """Return whether a driver that is no module is known not to be built in either."""
    if name in builtin:
        return False
    if config is not None:
        return config.get(symbol) != "y"
    return bool(builtin)


def _check_complete(names: Iterable[str], by_name: Mapping[str, Module], builtin: Collection[str]) -> None:
    """Raise UsageError when a module to be loaded first depends on one that is not there."""
    for name in sorted(names):
        for dependency in by_name[name].depends:
            if dependency not in by_name and builtin and dependency not in builtin:
                raise UsageError(
                    f"the guest needs the module {name}, which depends on {dependency}: "
                    "neither built in nor among the modules",
                    hint="name the folder that holds all of this kernel's modules",
                )
