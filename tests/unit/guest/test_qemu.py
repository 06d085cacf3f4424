# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""QEMU's command line."""

from __future__ import annotations

from kbtf_ci.guest import qemu
from kbtf_ci.guest.qemu import Accel, Machine, argv


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
