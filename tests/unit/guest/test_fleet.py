# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Several guests at once: who loads what, one account of it all, and no guest left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from kbtf_ci.errors import EngineError, GuestError, InterruptError
from kbtf_ci.guest.fleet import Share, observe_shares, shares
from kbtf_ci.guest.guest import GuestSpec
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import GuestRun, Listener
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.infra.runner import Command, Runner
from kbtf_ci.model.kernel_warning import KernelWarning
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import Death, LoadPolicy, Observation
from tests.support.guest import Boot, FakeGuests, FakeQemu, Load, make_files
from tests.support.waiting import wait_until

CHAIN = [Module("a", "a.ko", 3, ""), Module("b", "b.ko", 3, "", depends=("a",)), Module("c", "c.ko", 3, "")]
MANY = [Module(f"m{i:02}", f"m{i:02}.ko", 1000 * i, "") for i in range(40)]


def names(parts: Iterable[Iterable[Module]]) -> list[list[str]]:
    return [[module.name for module in part] for part in parts]


def test_the_parts_hold_every_module_once_and_weigh_about_the_same() -> None:
    parts = shares(MANY, 3, LoadPolicy.CARRIER)
    assert sorted(name for part in names(parts) for name in part) == [module.name for module in MANY]
    weights = [sum(module.btf_bytes + 10_000 for module in part) for part in parts]
    assert max(weights) < 1.2 * min(weights)


def test_what_is_loaded_for_real_brings_its_dependencies_into_each_part() -> None:
    assert names(shares(CHAIN, 3, LoadPolicy.AUTO)) == [["a"], ["a", "b"], ["c"]]
    assert names(shares(CHAIN, 3, LoadPolicy.CARRIER)) == [["a"], ["b"], ["c"]]


def test_more_guests_than_modules_are_not_started() -> None:
    assert len(shares(CHAIN[:1], 4, LoadPolicy.CARRIER)) == 1


class Fleet:
    """Guests of this machine and all that they told."""

    def __init__(
        self, folder: Path, loads: Mapping[tuple[str, str], Load] = {}, boots: Iterable[Boot] = ()
    ) -> None:
        self.guests = FakeGuests(GuestKeys.generate(), dict(loads), list(boots))
        self.runner: Runner = self.guests
        kernel, image = make_files(folder, self.guests.keys)
        timeouts = Timeouts(ssh=120, fixed=frozenset({"ssh"}), clock=self.guests.clock)
        self.spec = GuestSpec(kernel, image, accel=Accel.TCG, timeouts=timeouts)
        self.folder = folder
        self.seen: list[Observation] = []
        self.boots: list[int] = []
        self.warnings: list[str] = []
        self.kernel_warnings: list[KernelWarning] = []

    def observe(
        self,
        parts: Sequence[Sequence[Module]],
        listen: Callable[[Observation], None] | None = None,
        policy: LoadPolicy = LoadPolicy.AUTO,
    ) -> GuestRun:
        listener = Listener(
            listen or self.seen.append,
            lambda number, s: self.boots.append(number),
            self.warnings.append,
            self.kernel_warnings.append,
        )
        divided = []
        for number, part in enumerate(parts, 1):
            logs = self.folder / str(number)
            logs.mkdir()
            divided.append(Share(self.spec, tuple(part), logs))
        return observe_shares(self.runner, divided, policy, listener)


def test_each_guest_loads_its_part_and_a_module_of_two_is_told_of_once(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    done = fleet.observe(shares(CHAIN, 3, LoadPolicy.AUTO))
    assert sorted(map(tuple, fleet.guests.requests)) == [("real a",), ("real a", "real b"), ("real c",)]
    assert sorted(seen.name for seen in fleet.seen) == ["a", "b", "c"]
    assert (done.guests, done.boots, sorted(fleet.boots)) == (3, 3, [1, 2, 3])
    assert (tmp_path / "2/console.log").read_bytes()


def test_what_the_kernels_of_all_guests_warn_of_is_told(tmp_path: Path) -> None:
    said = Load(log=("BUG: KASAN: slab-out-of-bounds in f+0x1/0x2 [b]",))
    fleet = Fleet(tmp_path, {("real", "b"): said, ("real", "c"): said})
    fleet.observe([CHAIN[:2], CHAIN[2:]])
    assert sorted((one.kind.value, one.module) for one in fleet.kernel_warnings) == [("kasan", "b")] * 2


def test_a_guest_that_dies_costs_its_own_part_a_boot(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {("real", "b"): Load(end="panic")})
    done = fleet.observe([CHAIN[:2], CHAIN[2:]])
    told = {(seen.name, seen.mode.value): seen.death or seen.errno for seen in fleet.seen}
    assert told == {
        ("a", "real"): 0, ("b", "real"): Death.PANIC, ("b", "inert"): 0, ("c", "real"): 0,
    }  # fmt: skip
    assert (done.guests, done.boots) == (2, 3)


def test_a_guest_that_does_not_come_up_leaves_the_others_alone(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, boots=[Boot("[    1.0] Kernel panic - not syncing: none\n", 0)])
    with pytest.raises(GuestError):
        fleet.observe([CHAIN[:1], CHAIN[2:]])
    assert len(fleet.seen) == 1
    assert fleet.guests.living == []


def test_an_interrupt_ends_every_guest(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {("real", "a"): Load(end="long"), ("real", "c"): Load(end="long")})
    before = threading.active_count()

    def interrupt(*_: object) -> NoReturn:
        raise InterruptError("interrupted by SIGINT")

    def interrupt_when_both_load() -> None:
        wait_until(lambda: sorted(fleet.guests.requests) == [["real a"], ["real c"]])
        os.kill(os.getpid(), signal.SIGALRM)

    old = signal.signal(signal.SIGALRM, interrupt)
    interrupter = threading.Thread(target=interrupt_when_both_load)
    interrupter.start()
    try:
        with pytest.raises(InterruptError):
            fleet.observe([CHAIN[:1], CHAIN[2:]])
    finally:
        interrupter.join()
        signal.signal(signal.SIGALRM, old)
    assert fleet.guests.living == []
    wait_until(lambda: threading.active_count() <= before)


def test_a_guest_that_cannot_be_killed_spares_no_other_and_hides_no_interrupt(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {("real", "a"): Load(end="hang"), ("real", "c"): Load(end="hang")})
    fleet.spec = replace(fleet.spec, timeouts=Timeouts.parse(["boot=60s", "load=60s", "ssh=60s"]))
    order: list[FakeQemu] = []
    refusing = fleet.guests

    class Refusing:
        """Hands on guests of which the first refuses its first kill."""

        contained = True

        @contextmanager
        def start(self, command: Command) -> Iterator[FakeQemu]:
            with refusing.start(command) as qemu:
                kill, first = qemu.kill, not order
                order.append(qemu)

                def once() -> NoReturn:
                    qemu.kill = kill  # type: ignore[method-assign]  # this one guest's alone
                    threading.Timer(0.1, qemu.end, [137]).start()  # it ends all the same, by itself
                    raise EngineError("the container engine was lost")

                if first:
                    qemu.kill = once  # type: ignore[method-assign]  # likewise
                yield qemu

    fleet.runner = Refusing()
    interrupter = threading.Thread(
        target=interrupt_when, args=(lambda: len(order) == 2 and all(refusing.requests),)
    )

    def interrupt(*_: object) -> NoReturn:
        raise InterruptError("interrupted by SIGINT")

    old = signal.signal(signal.SIGALRM, interrupt)
    try:
        interrupter.start()
        with pytest.raises(InterruptError):
            fleet.observe([CHAIN[:1], CHAIN[2:]])
    finally:
        signal.signal(signal.SIGALRM, old)
        interrupter.join()
    assert fleet.warnings == [
        "a guest could not be killed and ends by its deadline: the container engine was lost"
    ]
    assert refusing.living == []


def interrupt_when(condition: Callable[[], bool]) -> None:
    main = threading.main_thread().ident
    assert main is not None
    while not condition():
        time.sleep(0.01)
    signal.pthread_kill(main, signal.SIGALRM)
