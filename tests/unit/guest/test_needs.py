# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is loaded before the guest has a network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.guest import needs
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import MACHINES, X86_64, machine_of
from kbtf_ci.model.module import Module

COMPLETE = dict.fromkeys((*needs.built_in(X86_64), "CONFIG_VIRTIO_PCI", "CONFIG_VIRTIO_NET"), "y")


def loaded_first(
    modules: Iterable[Module],
    builtin: Collection[str],
    config: Mapping[str, str] | None,
    machine: MachineType = X86_64,
) -> tuple[Module, ...]:
    return needs.loaded_first(modules, builtin, config, machine)


def module(name: str, *depends: str) -> Module:
    return Module(name, f"kernel/{name}.ko", 1, "", depends=depends)


NET = (
    module("virtio_net", "net_failover", "virtio_ring"), module("net_failover", "failover"),
    module("failover"), module("virtio_ring", "virtio"), module("virtio"),
)  # fmt: skip
PCI = (module("virtio_pci", "virtio_pci_modern_dev", "virtio"), module("virtio_pci_modern_dev"))
REST = (module("ext4", "jbd2"), module("jbd2"))
AS_MODULES = {**COMPLETE, "CONFIG_VIRTIO_PCI": "m", "CONFIG_VIRTIO_NET": "m"}


def names(modules: tuple[Module, ...]) -> list[str]:
    return [one.name for one in modules]


def test_the_drivers_come_with_all_they_depend_on_each_behind_what_it_depends_on() -> None:
    first = names(loaded_first([*REST, *NET, *PCI], (), AS_MODULES))
    assert set(first) == {one.name for one in (*NET, *PCI)}
    for one in (*NET, *PCI):
        assert all(first.index(name) < first.index(one.name) for name in one.depends)


def test_what_is_built_in_is_not_loaded() -> None:
    net = (module("virtio_net", "net_failover"), module("net_failover"))
    builtin = {"virtio", "virtio_ring", "virtio_pci"}
    assert names(loaded_first([*REST, *net], builtin, None)) == ["net_failover", "virtio_net"]
    assert loaded_first(REST, {*builtin, "virtio_net"}, None) == ()
    assert loaded_first(REST, (), COMPLETE) == ()


@pytest.mark.parametrize("symbol", sorted(COMPLETE))
@pytest.mark.parametrize("value", [None, "n"])
def test_a_necessity_that_the_config_lacks_is_named(symbol: str, value: str | None) -> None:
    config = {name: is_set for name, is_set in COMPLETE.items() if name != symbol}
    if value:
        config[symbol] = value
    with pytest.raises(UsageError, match=rf"without {symbol},"):
        loaded_first(REST, (), config)


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"CONFIG_DEVTMPFS, .*CONFIG_VIRTIO_PCI, CONFIG_VIRTIO_NET,"):
        loaded_first(REST, (), {})


def test_the_list_of_what_is_built_in_tells_as_much_of_the_drivers() -> None:
    with pytest.raises(UsageError, match=r"without CONFIG_VIRTIO_NET, ") as caught:
        loaded_first(REST, {"virtio_pci"}, None)
    assert caught.value.hint


def test_a_driver_that_is_a_module_somewhere_else_is_missing() -> None:
    with pytest.raises(UsageError, match="without CONFIG_VIRTIO_PCI, CONFIG_VIRTIO_NET,"):
        loaded_first(REST, {"ext4"}, AS_MODULES)


def test_where_neither_list_nor_config_is_known_the_console_is_left_to_tell() -> None:
    assert loaded_first(REST, (), None) == ()
    assert names(loaded_first([module("virtio_net", "gone")], (), None)) == ["virtio_net"]


def test_a_dependency_that_is_not_there_is_named_with_who_wants_it() -> None:
    with pytest.raises(UsageError, match="module virtio_net, which depends on net_failover: neither"):
        loaded_first([module("virtio_net", "net_failover")], {"virtio_pci"}, None)


def test_a_circle_among_other_modules_is_no_concern() -> None:
    circle = (module("a", "b"), module("b", "a"))
    assert names(loaded_first([*circle, *NET], {"virtio_pci"}, None))[-1] == "virtio_net"


CONSOLES = {
    "x86_64": "CONFIG_SERIAL_8250_CONSOLE",
    "arm64": "CONFIG_SERIAL_AMBA_PL011_CONSOLE",
    "s390x": "CONFIG_SCLP_VT220_CONSOLE",
    "ppc64le": "CONFIG_HVC_CONSOLE",
    "riscv64": "CONFIG_SERIAL_8250_CONSOLE",
}


@pytest.mark.parametrize("machine", MACHINES, ids=lambda one: one.name)
def test_each_machines_console_and_drivers_are_asked_for_by_name(machine: MachineType) -> None:
    with pytest.raises(UsageError) as caught:
        loaded_first(REST, (), {}, machine)
    missing = set(caught.value.message.removeprefix("the guest cannot do without ").split(", "))
    assert CONSOLES[machine.name] in missing
    assert not (set(CONSOLES.values()) - {CONSOLES[machine.name]}) & missing
    assert ("CONFIG_VIRTIO_PCI" in missing) == (machine.name != "s390x")
    assert ("CONFIG_S390_GUEST" in missing) == (machine.name == "s390x")


def test_the_bus_of_s390x_is_in_no_list_of_modules() -> None:
    config = {**dict.fromkeys(needs.built_in(machine_of("s390x", "")), "y"), "CONFIG_VIRTIO_NET": "m"}
    assert names(loaded_first(NET, (), config, machine_of("s390x", "")))[-1] == "virtio_net"
    with pytest.raises(UsageError, match="without CONFIG_S390_GUEST,"):
        loaded_first(NET, (), {**config, "CONFIG_S390_GUEST": "n"}, machine_of("s390x", ""))
