# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whole sessions, over real SSH, with guests that do what a test tells them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.errors import EngineError, GuestError, InfrastructureError, KbtfError, UsageError
from kbtf_ci.guest.accel import remembered
from kbtf_ci.guest.guest import GuestSpec
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import GuestRun, Listener, observe
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import Death, LoadMode, LoadPolicy, Observation
from tests.support.guest import Boot, FakeGuests, Load, make_files
from tests.support.waiting import wait_until

REAL, INERT = LoadMode.REAL, LoadMode.INERT
# Real seconds for an answer to a ping: plenty where one comes, and few where none does.
PING = dict.fromkeys(("panic", "oops", "reset", "hang"), 60.0) | {"spin": 0.5}
MODULES = [
    Module("a", "a.ko", 3, ""),
    Module("b", "b.ko", 3, "", depends=("a",)),
    Module("c", "c.ko", 3, "", depends=("b",)),
    Module("d", "d.ko", 3, ""),
]


class Run:
    """One ``observe`` and all it told."""

    def __init__(
        self,
        folder: Path,
        loads: Mapping[tuple[str, str], Load] = {},
        boots: Iterable[Boot] = (),
        accel: Accel = Accel.TCG,
        **timeouts: float,
    ) -> None:
        self.folder = folder
        self.guests = FakeGuests(GuestKeys.generate(), dict(loads), list(boots))
        kernel, image = make_files(folder, self.guests.keys)
        # By the guests' own clock, ssh and ping apart: those are waited for in earnest.
        asked: dict[str, float] = {"boot": 60, "load": 30, "ssh": 120, "ping": 60} | timeouts
        chosen = Timeouts(**asked, fixed=frozenset(asked), clock=self.guests.clock)
        self.spec = GuestSpec(kernel, image, accel=accel, timeouts=chosen)
        self.seen: list[Observation] = []
        self.boots: list[int] = []
        self.warnings: list[str] = []
        self.kernel_warnings: list[KernelWarning] = []

    def observe(self, policy: LoadPolicy = LoadPolicy.AUTO, modules: list[Module] = MODULES) -> GuestRun:
        listener = Listener(
            self.seen.append,
            lambda number, s: self.boots.append(number),
            self.warnings.append,
            self.kernel_warnings.append,
        )
        return observe(self.guests, self.spec, modules, policy, logs=self.folder, listener=listener)

    def warned(self) -> list[tuple[str, str]]:
        return [(one.kind.value, one.module) for one in self.kernel_warnings]

    def told(self) -> list[tuple[str, LoadMode, Death | int]]:
        return [(seen.name, seen.mode, seen.death or seen.errno) for seen in self.seen]


def test_all_that_loads_is_observed_with_its_bytes_and_words(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(btf=b"\x9f\xeb", log=("b: hello",))})
    done = run.observe()
    assert run.told() == [(name, REAL, 0) for name in "abcd"]
    assert run.seen[1].sysfs_sha256 == hashlib.sha256(b"\x9f\xeb").hexdigest()
    assert (run.seen[0].log, run.seen[1].log) == ((), ("b: hello",))
    assert (done.accel, done.boots, run.boots) == (Accel.TCG, 1, [1])
    assert done.boot_s > 0
    assert done.load_s > 0


def test_the_logs_hold_console_and_kernel_log(tmp_path: Path) -> None:
    (tmp_path / "kmsg.log").write_text("of an earlier run\n")
    Run(tmp_path, {("real", "b"): Load(log=("b: hello",))}).observe()
    assert (tmp_path / "console.log").read_bytes().startswith(b"[    0.0] Linux version 0\r\n")
    assert (tmp_path / "kmsg.log").read_text() == (
        "[    0.000000] Linux version 0\n[    5.000000] tab\there\n[    2.000000] b: hello\n"
    )


def test_what_did_not_stay_loaded_goes_inert_in_the_same_guest(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(errno=19), ("real", "c"): Load(errno=2)})
    assert run.observe().boots == 1
    assert run.told()[4:] == [("b", INERT, 0), ("c", INERT, 0)]


@pytest.mark.parametrize("end", ["panic", "oops", "reset", "hang", "spin"])
def test_a_death_under_a_load_is_told_apart_and_the_run_goes_on(tmp_path: Path, end: str) -> None:
    run = Run(tmp_path, {("real", "b"): Load(end=end), ("real", "c"): Load(errno=2)}, ping=PING[end])
    assert run.observe().boots == 2
    # A death is noticed as it happens, and only silence waited for.
    assert (run.guests.clock() == 0) == (end not in ("hang", "spin"))
    death = Death.HANG if end == "spin" else Death(end)
    assert run.told() == [
        ("a", REAL, 0), ("b", REAL, death), ("c", REAL, 2), ("d", REAL, 0), ("b", INERT, 0), ("c", INERT, 0),
    ]  # fmt: skip
    # The next guest is asked for what is left alone: a, which c's dependency b needs, then b inert.
    assert run.guests.requests[1][-3:] == ["real d", "inert b", "inert c"]
    assert "real b" not in run.guests.requests[1]


def test_the_log_of_a_death_is_what_the_console_said_since_the_marker(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(end="panic")})
    run.observe()
    assert run.seen[1].log == ("Kernel panic - not syncing: told to", "Kernel Offset: disabled")
    assert b"--- kbtf-ci: boot 2 ---" in (tmp_path / "console.log").read_bytes()


@pytest.mark.parametrize(
    ("end", "words"), [("hang", "still answers over SSH"), ("spin", "nor does it answer")]
)
def test_a_hang_says_whether_the_kernel_is_alive(tmp_path: Path, end: str, words: str) -> None:
    run = Run(tmp_path, {("real", "d"): Load(end=end)}, ping=PING[end])
    run.observe()
    assert words in run.seen[3].log[-1]


def test_a_module_that_kills_in_both_modes_is_given_up_and_the_rest_is_not(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "a"): Load(end="panic"), ("inert", "a"): Load(end="oops"),
                         ("real", "b"): Load(errno=2), ("inert", "b"): Load(errno=2),
                         ("real", "c"): Load(errno=2), ("inert", "c"): Load(errno=2)})  # fmt: skip
    assert run.observe().boots == 3
    assert [told for told in run.told() if told[0] == "a"] == [
        ("a", REAL, Death.PANIC),
        ("a", INERT, Death.OOPS),
    ]
    assert {name for name, _, _ in run.told()} == set("abcd")
    assert "inert a" not in run.guests.requests[2]


def test_under_real_a_culprit_is_not_loaded_again(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "a"): Load(end="panic")})
    assert run.observe(LoadPolicy.REAL).boots == 2
    assert run.guests.requests[1] == ["real b", "real c", "real d"]


def test_under_inert_nothing_is_loaded_for_real(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.observe(LoadPolicy.INERT)
    assert run.guests.requests == [["inert a", "inert b", "inert c", "inert d"]]


def test_a_lost_connection_to_a_living_guest_costs_a_boot(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(end="connection-lost")}, load=1e6)
    assert run.observe().boots == 2
    assert run.told()[1] == ("b", REAL, Death.HANG)
    assert "the guest still runs" in run.seen[1].log[-1]


def test_a_killed_probe_is_no_death_and_boots_without_progress_end_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(end="probe-killed")})
    with pytest.raises(GuestError, match="no module is to blame"):
        run.observe()
    assert run.told() == [("a", REAL, 0)]
    assert run.boots == [1, 2]


def test_a_killed_qemu_is_an_infrastructure_error_that_keeps_what_was_told(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "c"): Load(end="killed")})
    with pytest.raises(InfrastructureError, match="QEMU ended by itself with status 137"):
        run.observe()
    assert run.told() == [("a", REAL, 0), ("b", REAL, 0)]


def test_a_lost_engine_is_an_engine_error_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "c"): Load(end="long")})

    def lose() -> None:
        wait_until(lambda: any("real c" in asked for asked in run.guests.requests))
        run.guests.living[0].lose_engine()

    thread = threading.Thread(target=lose)
    thread.start()
    with pytest.raises(EngineError, match="the engine was lost"):
        run.observe()
    assert run.guests.clock() == 0
    thread.join()


@pytest.mark.parametrize(
    ("console", "status", "error", "message"),
    [
        ("[ 0.1] Kernel panic - not syncing: no root\n", 0, GuestError, "panicked: .*: no root"),
        ("[ 0.1] Oops: Oops: 0000 [#1] SMP\n", 0, GuestError, "oopsed"),
        ("[ 0.1] Linux version\n", 0, GuestError, "reset itself"),
        ("[ 0.1] Linux version\n", None, GuestError, "did not come up within 60 s"),
        ("[ 0.1] Initramfs unpacking failed: write error\n", None, GuestError, "unpack its initramfs"),
        ("[ 1.0] kbtf-ci: guest has no eth (CONFIG_X)\n[ 1.1] kbtf-ci: guest not ready\n", None, GuestError,
         r"guest has no eth \(CONFIG_X\)"),
        ("qemu: cannot set up guest memory\n", 1, InfrastructureError, "cannot set up guest memory"),
    ],
)  # fmt: skip
def test_a_boot_that_fails_says_how_and_shows_the_console(
    tmp_path: Path, console: str, status: int | None, error: type[KbtfError], message: str
) -> None:
    run = Run(tmp_path, boots=[Boot(console, status)])
    with pytest.raises(error, match=message) as caught:
        run.observe()
    assert type(caught.value).exit_code is error.exit_code
    assert console.split("\n", maxsplit=1)[0] in caught.value.detail
    assert run.guests.living == []


@pytest.mark.parametrize(
    ("console", "why"), [("KVM internal error. Suberror: 1\n", "KVM internal error"), ("", "printed nothing")]
)
@pytest.mark.parametrize("accel", [Accel.AUTO, Accel.KVM])
def test_auto_alone_falls_back_when_kvm_dies_under_a_real_guest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accel: Accel, console: str, why: str
) -> None:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kbtf_ci.guest.session.acceleration.choose", lambda *_, **__: Accel.KVM)
    run = Run(tmp_path, boots=[Boot(console)], accel=accel)
    if accel is Accel.KVM:
        with pytest.raises(InfrastructureError, match=why):
            run.observe()
        return
    assert run.observe().accel is Accel.TCG
    assert len(run.seen) == 4
    assert why in run.warnings[0]
    assert why in remembered()


def test_a_kernel_that_comes_up_nowhere_says_nothing_of_kvm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kbtf_ci.guest.session.acceleration.choose", lambda *_, **__: Accel.KVM)
    run = Run(tmp_path, boots=[Boot(""), Boot("")], accel=Accel.AUTO)
    with pytest.raises(GuestError, match="did not come up"):
        run.observe()
    assert remembered() == ""


@pytest.mark.parametrize("end", [Boot("Kernel panic - not syncing: no ACPI\n", 0), Boot("")])
def test_a_vmlinux_that_does_not_come_up_gives_way_to_its_image(tmp_path: Path, end: Boot) -> None:
    run = Run(tmp_path, boots=[end])
    run.spec = replace(run.spec, packed=tmp_path / "packed")
    run.observe()
    first, second = ([str(mount.source) for mount in one.mounts] for one in run.guests.started)
    assert str(tmp_path / "packed") not in first
    assert str(tmp_path / "packed") in second
    assert "packed is booted, which unpacks itself" in run.warnings[0]
    assert len(run.seen) == 4


WARN = ("------------[ cut here ]------------", "WARNING: CPU: 0 PID: 9 at x.c:3 f+0x1/0x2",
        "---[ end trace 0000000000000000 ]---")  # fmt: skip
LOCKUP = "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [thread:88]"


def test_a_warning_of_a_load_is_its_modules_and_changes_no_outcome(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(log=WARN), ("real", "d"): Load(log=("d: hello",))})
    run.observe()
    assert run.warned() == [("warning", "b")]
    assert run.kernel_warnings[0].lines == (WARN[1],)
    assert run.told() == [(name, REAL, 0) for name in "abcd"]


def test_what_comes_between_two_loads_is_the_first_ones(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(late=(LOCKUP, "CPU: 1 PID: 88"))})
    run.observe()
    assert run.warned() == [("soft-lockup", "b")]
    assert run.kernel_warnings[0].host_may_be_to_blame
    # The report is the load's before, and so no line of the module that was loaded meanwhile.
    assert [seen.log for seen in run.seen] == [(), (), (), ()]


def test_what_comes_behind_the_last_load_is_its(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "d"): Load(late=(LOCKUP,))})
    run.observe()
    assert run.warned() == [("soft-lockup", "d")]


def test_what_a_module_says_in_both_modes_is_told_of_both_and_the_log_read_again_of_none(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, {("real", "b"): Load(errno=19, log=WARN), ("inert", "b"): Load(log=WARN)})
    run.observe()
    assert run.warned() == [("warning", "b"), ("warning", "b")]


def test_what_came_before_the_first_load_is_no_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = [f"4,{number},0,-;{line}" for number, line in enumerate(WARN)]
    monkeypatch.setattr("tests.support.guest.BOOT_KMSG", boot)
    run = Run(tmp_path)
    run.observe()
    assert run.warned() == [("warning", "")]


def test_a_warning_before_a_death_is_told_from_the_console(tmp_path: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(end="oops")})
    run.observe()
    assert run.warned() == [("oops", "b")]


def test_a_cpu_that_is_never_free_again_is_a_warning_and_no_death(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.guests.unsettled = f"[   30.0] {LOCKUP}\n"
    assert run.observe().boots == 1
    assert run.told() == [(name, REAL, 0) for name in "abcd"]
    assert run.warned() == [("soft-lockup", "d")]
    (word,) = run.warnings
    assert word.startswith("after the last load the guest said nothing for 30 s")


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    Run(tmp_path, {("real", "b"): Load(end="panic"), ("real", "c"): Load(end="hang")}).observe()

    def left() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]

    wait_until(lambda: not left())


def test_a_kernel_that_is_not_there_is_a_users_error_before_any_start(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.spec.kernel.unlink()
    with pytest.raises(UsageError, match=r"no kernel image .*bzImage"):
        run.observe()
    assert run.guests.started == []


def test_a_death_under_carriers_costs_a_boot_to_find_out_which_one_it_was(tmp_path: Path) -> None:
    carrier = LoadMode.CARRIER
    run = Run(tmp_path, {("carrier", "b"): Load(end="panic")})
    done = run.observe(LoadPolicy.CARRIER)
    # Quietly up to the death; with the console on; and what is left behind it.
    assert done.boots == 3
    assert run.told() == [
        ("a", carrier, 0), ("b", carrier, Death.PANIC), ("c", carrier, 0), ("d", carrier, 0),
    ]  # fmt: skip
    assert "a guest died under carriers (panic)" in run.warnings[0]


def test_carriers_are_loaded_with_a_quiet_console_and_nothing_else_is(tmp_path: Path) -> None:
    for policy, quiet in ((LoadPolicy.CARRIER, True), (LoadPolicy.REAL, False), (LoadPolicy.INERT, False)):
        folder = tmp_path / policy.value
        folder.mkdir()
        run = Run(folder)
        run.observe(policy)
        assert run.guests.dmesg == (["dmesg -n 1"] if quiet else [])


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that stands for what a kernel has of vmlinux's BTF in memory."""
    path = tmp_path / "sysfs"
    path.write_bytes(b"BTF of vmlinux " * 1000)
    monkeypatch.setattr("kbtf_ci.guest.vmlinux_btf.SYSFS", str(path))
    return path


def read_back(run: Run, expected: bytes | None) -> list[bytes]:
    run.spec = replace(run.spec, btf=expected)
    read: list[bytes] = []
    listener = Listener(lambda _: None, lambda *_: None, run.warnings.append, vmlinux_read=read.append)
    observe(run.guests, run.spec, MODULES, LoadPolicy.AUTO, logs=run.folder, listener=listener)
    return read


def test_what_a_kernel_has_of_vmlinux_in_memory_comes_out_where_it_is_another(
    tmp_path: Path, memory: Path
) -> None:
    content = memory.read_bytes()
    assert read_back(Run(tmp_path), content) == [content]
    assert read_back(Run(tmp_path), content[:-1]) == [content]
    assert read_back(Run(tmp_path), None) == []
    memory.unlink()
    assert read_back(Run(tmp_path), content) == [b""]


def test_it_is_read_of_the_first_guest_that_comes_up(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KBTF_CI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("kbtf_ci.guest.session.acceleration.choose", lambda *_, **__: Accel.KVM)
    run = Run(tmp_path, boots=[Boot("KVM internal error. Suberror: 1\n")], accel=Accel.AUTO)
    assert read_back(run, memory.read_bytes()) == [memory.read_bytes()]


def test_it_is_read_once_however_often_the_guest_dies(tmp_path: Path, memory: Path) -> None:
    run = Run(tmp_path, {("real", "b"): Load(end="panic")})
    assert len(read_back(run, memory.read_bytes())) == 1
