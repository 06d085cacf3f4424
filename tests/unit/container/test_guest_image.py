# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The images that guests of other architectures are made of."""

from __future__ import annotations

import pytest

from kbtf_ci.container import guest_image
from kbtf_ci.container.base import SUITES
from kbtf_ci.container.images import _purpose
from kbtf_ci.model.machines.machine import MachineType
from kbtf_ci.model.machines.table import FOREIGN, machine_of

EACH = pytest.mark.parametrize("machine", FOREIGN, ids=lambda one: one.name)


@EACH
def test_an_image_stands_on_one_toolchain_for_one_architecture(machine: MachineType) -> None:
    name = guest_image.image_name(machine, "trixie", "kbtf-ci/toolchain:trixie-1")
    assert name.startswith(f"kbtf-ci/guest-{machine.name}:trixie-")
    assert name == guest_image.image_name(machine, "trixie", "kbtf-ci/toolchain:trixie-1")
    assert name != guest_image.image_name(machine, "trixie", "kbtf-ci/toolchain:trixie-2")
    assert _purpose(name) == f"guests of {machine.name}, on the toolchain of trixie, by an earlier recipe"


def test_no_two_have_the_same_name() -> None:
    names = {guest_image.image_name(machine, suite, "x") for machine in FOREIGN for suite in SUITES}
    assert len(names) == len(FOREIGN) * len(SUITES)


def test_the_recipe_names_what_debian_calls_the_architecture() -> None:
    text = guest_image._containerfile(machine_of("ppc64le", ""), "trixie").decode()
    assert "qemu-system-ppc gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross" in text
    # Of the toolchain's own suite, or a later one.
    assert "foreign /usr/src/kbtf-ci ppc64el powerpc64le-linux-gnu /tmp/foreign trixie forky " in text
