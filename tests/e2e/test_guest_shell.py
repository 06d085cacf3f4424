# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The contract of tests/contract/test_guest_shell.py, kept by a real guest: kernel, dropbear and QEMU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.guest.guest import Guest, GuestSpec, booted
from kbtf_ci.guest.image import GuestImage, make_image, root_archive
from kbtf_ci.guest.keys import GuestKeys
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.infra.runner import Runner
from tests.contract.test_guest_shell import ShellContract


@pytest.fixture(scope="module")
def runner(engine: Engine, toolchain: Toolchain) -> Runner:
    return engine.runner(toolchain.image)


@pytest.fixture(scope="module")
def image(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> GuestImage:
    folder = tmp_path_factory.mktemp("guest")
    return make_image(root_archive(runner), folder)


class TestRealGuest(ShellContract):
    @pytest.fixture
    def keys(self, image: GuestImage) -> GuestKeys:
        return image.keys

    @pytest.fixture
    def guest(self, runner: Runner, image: GuestImage, smoke_run: Path, tmp_path: Path) -> Iterator[Guest]:
        spec = GuestSpec(smoke_run / "kernel/bzImage", image, memory_mib=512)
        with booted(runner, spec, Accel.TCG, tmp_path / "console.log", lambda text: None) as guest:
            yield guest

    @pytest.fixture
    def end_vm(self, guest: Guest) -> Callable[[], object]:
        return lambda: list(guest.shell.run(["sh", "-c", "(sleep 1; reboot -f) >/dev/null 2>&1 &"]))
