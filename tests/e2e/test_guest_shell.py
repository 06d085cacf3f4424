# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The contract of tests/contract/test_guest_shell.py, kept by a real guest: kernel, dropbear and QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.guest.guest import GuestSpec, booted
from kbtf_ci.guest.image import make_image
from kbtf_ci.guest.qemu import Accel
from tests.contract.test_guest_shell import ShellContract


@pytest.fixture(scope="module")
def runner(engine: Engine, toolchain: Toolchain):
    return engine.runner(toolchain.image)


@pytest.fixture(scope="module")
def image(runner, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("guest")
    return make_image(runner, folder, folder, ())


class TestRealGuest(ShellContract):
    @pytest.fixture
    def keys(self, image):
        return image.keys

    @pytest.fixture
    def guest(self, runner, image, smoke_run: Path, tmp_path: Path):
        spec = GuestSpec(smoke_run / "kernel/bzImage", image, memory_mib=512)
        with booted(runner, spec, Accel.TCG, tmp_path / "console.log", lambda text: None) as guest:
            yield guest

    @pytest.fixture
    def end_vm(self, guest):
        return lambda: list(guest.shell.run(["sh", "-c", "(sleep 1; reboot -f) >/dev/null 2>&1 &"]))
