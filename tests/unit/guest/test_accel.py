# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""KVM, or emulation, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.guest.accel import choose, kvm_works, remember, remembered
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.model.machines.table import machine_of
from tests.support.guest import Boot, FakeGuests


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("KBTF_CI_CACHE", str(folder))
    return folder


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.write_bytes(b"")
    return path


def guests(*boots: Boot) -> FakeGuests:
    return FakeGuests(GuestKeys.generate(), boots=list(boots))


def test_a_guest_that_ends_as_it_should_shows_that_kvm_works(device: Path) -> None:
    runner = guests(Boot("", 33))
    assert kvm_works(runner, device) == ""
    assert runner.started[0].devices == (str(device),)


def test_without_the_device_nothing_is_started(tmp_path: Path) -> None:
    runner = guests()
    assert kvm_works(runner, tmp_path / "none") == f"there is no {tmp_path / 'none'}"
    assert runner.started == []


def test_an_abort_is_told_in_qemus_first_words(device: Path) -> None:
    runner = guests(Boot("qemu: error: failed to set MSR 0x10a\nqemu: Assertion failed\n", 134))
    assert kvm_works(runner, device) == "qemu: error: failed to set MSR 0x10a"


def test_another_end_than_the_guests_own_is_no_proof(device: Path) -> None:
    assert "status 0" in kvm_works(guests(Boot("", 0)), device)


def test_a_guest_that_kvm_has_paused_is_not_waited_for(device: Path) -> None:
    runner = guests(Boot("KVM internal error. Suberror: 1\nEAX=0\n"))
    assert kvm_works(runner, device, runner.clock).startswith("KVM internal error")
    assert runner.clock() < 1


def test_a_guest_that_hangs_is_given_up(device: Path) -> None:
    runner = guests(Boot(""))
    assert "did not end within 15 s" in kvm_works(runner, device, runner.clock)
    assert runner.clock() == 15


def test_auto_takes_kvm_where_it_works_and_else_says_why_not(device: Path) -> None:
    warnings: list[str] = []
    assert choose(guests(Boot("", 33)), Accel.AUTO, warnings.append, device) is Accel.KVM
    assert warnings == []
    assert choose(guests(Boot("no such CPU\n", 1)), Accel.AUTO, warnings.append, device) is Accel.TCG
    assert "no such CPU" in warnings[0]


def test_kvm_never_falls_back(device: Path) -> None:
    with pytest.raises(InfrastructureError, match="no such CPU"):
        choose(guests(Boot("no such CPU\n", 1)), Accel.KVM, pytest.fail, device)


def test_tcg_does_not_look_at_kvm(device: Path) -> None:
    runner = guests()
    assert choose(runner, Accel.TCG, pytest.fail, device) is Accel.TCG
    assert runner.started == []


def test_a_kernel_that_did_not_run_in_kvm_is_remembered_until_the_next_boot(
    device: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remembered() == ""
    remember("the guest printed nothing within 60 s in KVM")
    warnings: list[str] = []
    runner = guests()
    assert choose(runner, Accel.AUTO, warnings.append, device) is Accel.TCG
    assert runner.started == []
    assert "printed nothing within 60 s" in warnings[0]
    assert str(cache / "kvm.json") in warnings[0]
    assert choose(guests(Boot("", 33)), Accel.KVM, pytest.fail, device) is Accel.KVM
    later = device.with_name("boot_id")
    later.write_text("another\n")
    monkeypatch.setattr("kbtf_ci.guest.accel._BOOT_ID", later)
    assert choose(guests(Boot("", 33)), Accel.AUTO, pytest.fail, device) is Accel.KVM


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"boot_id": 1}'])
def test_a_broken_memory_is_none(cache: Path, content: bytes) -> None:
    cache.mkdir()
    (cache / "kvm.json").write_bytes(content)
    assert remembered() == ""


ARM64 = machine_of("arm64", "")


def test_a_guest_of_another_architecture_is_emulated_and_nothing_is_started_to_find_out(device: Path) -> None:
    runner = guests()
    found = choose(runner, Accel.AUTO, pytest.fail, device, machine=ARM64, host="x86_64")
    assert (found, runner.started) == (Accel.TCG, [])
    with pytest.raises(
        InfrastructureError, match="KVM runs no guest of arm64 on this machine, which is x86_64"
    ):
        choose(runner, Accel.KVM, pytest.fail, device, machine=ARM64, host="x86_64")
    with pytest.raises(InfrastructureError, match="no guest of x86_64 on this machine, which is aarch64"):
        choose(runner, Accel.KVM, pytest.fail, device, host="aarch64")


def test_where_host_and_guest_agree_the_device_decides(device: Path, tmp_path: Path) -> None:
    warnings: list[str] = []
    assert choose(guests(), Accel.AUTO, pytest.fail, device, machine=ARM64, host="aarch64") is Accel.KVM
    assert (
        choose(guests(), Accel.AUTO, warnings.append, tmp_path / "no", machine=ARM64, host="aarch64")
        is Accel.TCG
    )
    assert "there is no" in warnings[0]
