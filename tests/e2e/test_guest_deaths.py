# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Real kernels that die under real modules: each death told apart, and the run goes on behind it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.guest.guest import GuestSpec
from kbtf_ci.guest.image import make_image, root_archive
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import Listener, observe
from kbtf_ci.guest.timeouts import Timeouts
from kbtf_ci.model.module import Module
from kbtf_ci.model.outcome import Death, LoadMode, LoadPolicy, Observation, Outcome, judge
from kbtf_ci.objfile.inventory import inventory
from tests.support.deadly import ENDLESS_LOOP, INVALID_OPCODE, RESET, with_init

REAL, INERT = LoadMode.REAL, LoadMode.INERT


@pytest.fixture
def deadly(smoke_run: Path, tmp_path: Path) -> list[Module]:
    """Five of the smoke run's modules, three of which do not survive their init function."""
    deadly = {"dummy": INVALID_OPCODE, "tun": ENDLESS_LOOP, "veth": RESET}
    modules = [
        module
        for module in inventory(smoke_run / "kernel/modules").modules
        if module.name in {*deadly, "nls_utf8", "xt_comment", "x_tables"}
    ]
    for module in modules:
        content = (smoke_run / "kernel/modules" / module.file).read_bytes()
        target = tmp_path / "modules" / module.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(with_init(content, deadly[module.name]) if module.name in deadly else content)
    return modules


@pytest.mark.full
def test_each_death_is_told_apart_and_every_module_is_verified_inert(
    engine: Engine, toolchain: Toolchain, smoke_run: Path, deadly: list[Module], tmp_path: Path
) -> None:
    runner = engine.runner(toolchain.image)
    image = make_image(root_archive(runner), tmp_path / "guest", tmp_path / "modules", deadly)
    spec = GuestSpec(
        smoke_run / "kernel/bzImage",
        image,
        memory_mib=512,
        accel=Accel.TCG,
        timeouts=Timeouts.parse(["load=30s", "ssh=5m"]),
    )
    seen: list[Observation] = []
    listener = Listener(seen.append, lambda number, seconds: None, lambda text: None)
    done = observe(runner, spec, deadly, LoadPolicy.AUTO, logs=tmp_path, listener=listener)
    deaths = {observation.name: observation.death for observation in seen if observation.death}
    assert deaths == {"dummy": Death.OOPS, "tun": Death.HANG, "veth": Death.RESET}
    assert done.boots == 4
    verdicts = {m.name: judge(m, [o for o in seen if o.name == m.name]) for m in deadly}
    assert {result.outcome for result in verdicts.values()} == {Outcome.VERIFIED}
    modes = {name: result.observation and result.observation.mode for name, result in verdicts.items()}
    assert {name for name, mode in modes.items() if mode is INERT} == set(deaths)
    (oops,) = (observation for observation in seen if observation.death is Death.OOPS)
    assert any("invalid opcode: 0000 [#1]" in line for line in oops.log)
