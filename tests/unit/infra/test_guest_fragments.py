# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What is asked of a kernel that is built for a guest is what that guest's machine needs."""

from __future__ import annotations

import pytest

from kbtf_ci.infra.paths import shipped
from kbtf_ci.kernel.target import TARGETS, Target
from kbtf_ci.model.config import config_lines
from kbtf_ci.model.machines.table import MACHINES


def test_there_is_a_machine_for_whatever_is_built() -> None:
    assert {target.architecture for target in TARGETS} == {machine.name for machine in MACHINES}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.architecture)
def test_a_fragment_has_what_the_machine_needs_built_in(target: Target) -> None:
    machine = target.machine
    names = ("guest.config", f"guest-{target.architecture}.config")
    texts = [(shipped("configs") / name).read_text() for name in names]
    asked = {f"CONFIG_{symbol}": value for text in texts for _, symbol, value in config_lines(text)}
    needed = (machine.console_symbol, *machine.drivers.values(), *machine.built_in)
    assert {symbol: asked.get(symbol) for symbol in needed} == dict.fromkeys(needed, "y")
