# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is asked of a guest that stays up, here of this machine; a real one: tests/e2e/test_pytest_plugin."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from kbtf_ci.errors import GuestError, UsageError
from kbtf_ci.guest import files
from kbtf_ci.guest.guest import Guest, GuestSpec
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.vm import KvmError
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import LoadMode
from kbtf_ci.workflow.live_guest import LiveGuest, Ran, up
from tests.support.guest import Boot, FakeGuests, Load, make_files

MODULES = [
    Module("snd_pcm", "kernel/snd-pcm.ko", 3, "", depends=("snd",)),
    Module("snd", "kernel/snd.ko", 3, "", depends=("core",)),
    Module("core", "kernel/core.ko", 3, ""),
    Module("other", "kernel/other.ko", 3, ""),
]
NO_KVM = Boot("KVM internal error. Suberror: 1\n")


class Live:
    """A guest that is up, and what was asked of it."""

    def __init__(self, guests: FakeGuests, guest: Guest, warnings: list[str]) -> None:
        self.guest = LiveGuest(guest, MODULES, "6.12.3")
        self.shell = guest.shell
        self.guests = guests
        self.warnings = warnings

    def requests(self) -> list[str]:
        return [request for asked in self.guests.requests for request in asked]


Up = Callable[..., Live]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Up]:
    with ExitStack() as stack:

        def start(
            loads: Mapping[tuple[str, str], Load] = {},
            *boots: Boot,
            wanted: Accel = Accel.AUTO,
            accel: Accel = Accel.TCG,
        ) -> Live:
            guests = FakeGuests(GuestKeys.generate(), loads, list(boots))
            spec = GuestSpec(*make_files(tmp_path, guests.keys), accel=wanted)
            warnings: list[str] = []
            log = tmp_path / "console.log"
            guest = up(stack, guests, spec, accel, log=log, warn=warnings.append)
            return Live(guests, guest, warnings)

        yield start


def test_a_command_gives_what_it_prints_and_its_status(live: Up) -> None:
    guest = live().guest
    assert guest.run("echo a; echo b >&2; exit 3") == Ran(3, "a\nb\n")
    assert guest.run(["echo", "a  b", "$HOME"]) == Ran(0, "a  b $HOME\n")


def test_a_module_is_loaded_behind_what_it_depends_on(live: Up) -> None:
    one = live({("real", "snd_pcm"): Load(log=("snd_pcm: hello",))})
    seen = one.guest.load("snd-pcm")
    assert (seen.name, seen.mode, seen.errno, seen.log) == (
        "snd_pcm",
        LoadMode.REAL,
        0,
        ("snd_pcm: hello",),
    )
    assert one.requests() == ["real core", "real snd", "real snd_pcm"]


def test_what_a_module_depends_on_is_loaded_inert_where_it_does_not_stay(live: Up) -> None:
    one = live({("real", "core"): Load(errno.ENODEV), ("real", "snd"): Load(errno.EEXIST)})
    assert one.guest.load("snd_pcm").errno == 0
    assert one.requests() == ["real core", "inert core", "real snd", "real snd_pcm"]


def test_a_refusal_is_an_answer_and_no_error(live: Up) -> None:
    words = ("BPF: Invalid name", "failed to validate module [other] BTF: -22")
    seen = live({("inert", "other"): Load(errno.EINVAL, log=words)}).guest.load("other", LoadMode.INERT)
    assert (seen.errno, seen.log) == (errno.EINVAL, words)


def test_a_panic_under_a_load_is_an_error_with_the_last_words(live: Up) -> None:
    with pytest.raises(GuestError, match="told to") as caught:
        live({("real", "other"): Load(end="panic")}).guest.load("other")
    assert "Kernel panic" in caught.value.detail


def test_what_there_is_not_is_refused(live: Up, tmp_path: Path) -> None:
    guest = live().guest
    (tmp_path / "text.ko").write_text("text")
    with pytest.raises(UsageError, match=r"has no module a\\nb"):
        guest.load("a\nb")
    with pytest.raises(UsageError, match=r"text\.ko"):
        guest.load(tmp_path / "text.ko")
    with pytest.raises(UsageError, match="carriers"):
        guest.load("other", LoadMode.CARRIER)
    for name in ("no_such_module", "../../proc/self/environ", "x; echo"):
        with pytest.raises(UsageError, match="the guest has no"):
            guest.read_btf(name)


def test_files_go_in_and_come_out_as_they_are(live: Up, tmp_path: Path) -> None:
    shell = live().shell
    path, data = tmp_path / "a 'b' $c", bytes(range(256)) * 100
    files.write(shell, str(path), data, 30)
    assert path.read_bytes() == data
    assert files.read(shell, str(path), 30) == data


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    reasons: list[str] = []
    monkeypatch.setattr("kbtf_ci.guest.accel.remember", reasons.append)
    return reasons


def test_where_kvm_dies_under_it_the_guest_is_emulated_and_that_is_said(
    live: Up, remembered: list[str]
) -> None:
    one = live({}, NO_KVM, accel=Accel.KVM)
    assert one.guest.run("true").status == 0
    assert ["KVM internal error" in line for line in one.warnings] == [True]
    assert len(remembered) == 1


def test_kvm_that_was_asked_for_by_name_is_not_passed_over(live: Up, remembered: list[str]) -> None:
    with pytest.raises(KvmError):
        live({}, NO_KVM, accel=Accel.KVM, wanted=Accel.KVM)
    assert not remembered
