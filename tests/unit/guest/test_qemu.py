# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU's command line."""

from __future__ import annotations

import pytest

from kbtf_ci.guest import qemu
from kbtf_ci.guest.qemu import Accel, Machine, argv
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import FOREIGN, MACHINES, machine_of


def option(words: tuple[str, ...], name: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == name]


def test_a_kvm_guest_has_the_hosts_cpu_and_an_emulated_one_all_that_emulation_is_quick_at() -> None:
    kvm = argv(Machine(Accel.KVM, 512, 2))
    tcg = argv(Machine(Accel.TCG, 512, 2))
    assert (option(kvm, "-accel"), option(kvm, "-cpu")) == (["kvm"], ["host"])
    assert (option(tcg, "-accel"), option(tcg, "-cpu")) == (
        ["tcg,thread=multi"],
        ["max,-erms,-fsrm,-la57,-smap"],
    )


def test_the_guests_size_is_the_machines() -> None:
    words = argv(Machine(Accel.TCG, 768, 3))
    assert (option(words, "-m"), option(words, "-smp")) == (["768"], ["3"])


def test_the_users_kernel_parameters_come_last_so_that_they_win() -> None:
    (line,) = option(argv(Machine(Accel.TCG, 512, 1, "panic=0  loglevel=8")), "-append")
    assert line.split()[-2:] == ["panic=0", "loglevel=8"]
    assert line.split().index("panic=-1") < line.split().index("panic=0")


def test_the_guest_reaches_nothing_and_is_reached_by_ssh_alone() -> None:
    words = argv(Machine(Accel.TCG, 512, 1))
    assert option(words, "-netdev") == ["user,id=net,restrict=on,hostfwd=tcp::2222-:22"]
    assert "-nodefaults" in words


def test_a_dying_kernel_ends_qemu_at_once() -> None:
    words = argv(Machine(Accel.KVM, 512, 1))
    assert "-no-reboot" in words
    assert {"panic=-1", "oops=panic"} <= set(option(words, "-append")[0].split())


def test_the_kvm_check_is_a_kvm_guest_like_the_real_one() -> None:
    check, real = qemu.kvm_check_argv(), argv(Machine(Accel.KVM, 512, 1))
    for name in ("-accel", "-cpu", "-machine"):
        assert option(check, name) == option(real, name)


def test_the_command_line_of_x86_64_is_what_it_was_before_there_were_others() -> None:
    assert argv(Machine(Accel.TCG, 512, 2)) == (
        "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi",
        "-cpu", "max,-erms,-fsrm,-la57,-smap", "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none", "-m", "512", "-smp", "2", "-kernel", "/guest/kernel",
        "-initrd", "/guest/initramfs.cpio", "-append",
        "console=ttyS0 oops=panic panic=-1 printk.devkmsg=on printk.time=1 log_buf_len=16M "
        "mitigations=off nokaslr",
        "-serial", "stdio", "-netdev", "user,id=net,restrict=on,hostfwd=tcp::2222-:22",
        "-device", "virtio-net-pci,netdev=net,romfile=",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "program", "machine", "device", "console"),
    [
        ("arm64", "qemu-system-aarch64", "virt", "virtio-net-pci", "ttyAMA0"),
        ("s390x", "qemu-system-s390x", "s390-ccw-virtio", "virtio-net-ccw", "ttysclp0"),
        ("ppc64le", "qemu-system-ppc64", "pseries", "virtio-net-pci", "hvc0"),
        ("riscv64", "qemu-system-riscv64", "virt", "virtio-net-pci", "ttyS0"),
    ],
)
def test_each_architecture_has_its_own_machine(
    name: str, program: str, machine: str, device: str, console: str
) -> None:
    words = argv(Machine(Accel.TCG, 512, 1, type=machine_of(name, "")))
    assert words[0] == program
    assert option(words, "-machine")[0].split(",")[0] == machine
    assert option(words, "-device")[0].split(",")[:2] == [device, "netdev=net"]
    assert option(words, "-append")[0].split()[0] == f"console={console}"


@pytest.mark.parametrize("machine", FOREIGN, ids=lambda one: one.name)
def test_whatever_does_not_name_the_machine_is_the_same_for_all(machine: MachineType) -> None:
    """What keeps a guest apart and ends it holds for each."""
    ours, own = argv(Machine(Accel.TCG, 512, 2)), argv(Machine(Accel.TCG, 512, 2, type=machine))
    assert len(ours) == len(own)
    differing = {ours[at - 1] for at in range(1, len(ours)) if ours[at] != own[at]}
    assert differing <= {"-machine", "-cpu", "-append", "-device"}
    assert option(own, "-append")[0].split()[1:] == option(ours, "-append")[0].split()[1:]


def test_the_table_of_machines_has_an_architecture_once() -> None:
    assert len({one.name for one in MACHINES}) == len(MACHINES)
    assert all(one.architecture.debian and one.architecture.uname for one in MACHINES)


@pytest.mark.parametrize(("wanted", "given"), [(1, "256"), (256, "256"), (1198, "1280")])
def test_memory_that_a_machine_has_in_steps_only_is_rounded_up(wanted: int, given: str) -> None:
    words = argv(Machine(Accel.TCG, wanted, 1, type=machine_of("ppc64le", "")))
    assert option(words, "-m") == [given]
