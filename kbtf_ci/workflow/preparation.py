# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What guests need of the toolchain image, asked for while modules are read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from kbtf_ci.guest import accel as acceleration
from kbtf_ci.guest.fleet import Stoppable
from kbtf_ci.guest.image import root_archive
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra.record import Reporter
from kbtf_ci.infra.runner import Runner
from kbtf_ci.model.machines.machine import MachineType


@dataclass(frozen=True)
class Preparation:
    """Two answers that are under way, each from a container of its own. Waiting for one raises its error."""

    reporter: Reporter
    _root: Future[bytes]
    _accel: Future[Accel]
    _warnings: list[str]

    def root(self) -> bytes:
        """Return the archive of the guest's own programs."""
        return self._root.result()

    def accel(self) -> Accel:
        """Return what the guests run in, and warn of what was not to be had."""
        found = self._accel.result()
        for text in self._warnings:
            self.reporter.warn(text)
        return found


@contextmanager
def prepared(
    runner: Runner, wanted: Accel, machine: MachineType, reporter: Reporter
) -> Iterator[Preparation]:
    """Start to find out for guests on ``machine``.

    What is still under way when the context is left by an error is ended.
    """
    containers = Stoppable(runner)
    warnings: list[str] = []
    with ThreadPoolExecutor(2, thread_name_prefix="prepare") as pool:
        root = pool.submit(root_archive, containers)
        accel = pool.submit(acceleration.choose, containers, wanted, warnings.append, machine=machine)
        try:
            yield Preparation(reporter, root, accel, warnings)
        except BaseException:
            for failure in containers.stop():
                reporter.warn(f"a container could not be killed and ends by its deadline: {failure}")
            raise
