# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A real guest that loads modules before its network, as one of a kernel that was not built for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.errors import GuestError
from kbtf_ci.guest.guest import GuestSpec, booted
from kbtf_ci.guest.image import EarlyModule, make_image, root_archive
from kbtf_ci.guest.qemu import Accel
from kbtf_ci.guest.session import Listener, observe
from kbtf_ci.model.module import Module, dependency_order
from kbtf_ci.model.outcome import LoadMode, LoadPolicy, Observation, Outcome, judge
from kbtf_ci.objfile.inventory import inventory

NAMES = {"x_tables", "xt_comment", "nls_utf8"}
Change = Callable[[bytes], bytes]


class Spec(Protocol):
    """Makes a guest of three modules, two of them to be loaded first as ``change`` leaves them."""

    def __call__(self, change: Change = ...) -> tuple[tuple[Module, ...], GuestSpec]: ...


@pytest.fixture
def spec(engine: Engine, toolchain: Toolchain, smoke_run: Path, tmp_path: Path) -> Spec:
    tree = smoke_run / "guest/modules"
    root = root_archive(engine.runner(toolchain.image))

    def spec(change: Change = lambda content: content) -> tuple[tuple[Module, ...], GuestSpec]:
        modules = dependency_order(one for one in inventory(tree).modules if one.name in NAMES)
        early = [
            EarlyModule(one.name, change((tree / one.file).read_bytes()))
            for one in modules
            if one.name != "nls_utf8"
        ]
        assert [one.name for one in early] == ["x_tables", "xt_comment"]
        image = make_image(root, tmp_path / "guest", tree, modules, early)
        return modules, GuestSpec(smoke_run / "kernel/bzImage", image, memory_mib=512, accel=Accel.TCG)

    return spec


@pytest.mark.parametrize("policy", [LoadPolicy.INERT, LoadPolicy.AUTO])
def test_what_is_loaded_first_is_verified_as_loaded_for_real(
    engine: Engine, toolchain: Toolchain, spec: Spec, tmp_path: Path, policy: LoadPolicy
) -> None:
    modules, guest = spec()
    seen: dict[str, list[Observation]] = {}
    listener = Listener(lambda one: seen.setdefault(one.name, []).append(one), lambda *_: None, pytest.fail)
    run = observe(
        engine.runner(toolchain.image),
        guest,
        modules,
        policy,
        logs=tmp_path,
        listener=listener,
        accel=Accel.TCG,
    )
    assert run.boots == 1
    results = {one.name: judge(one, seen[one.name]) for one in modules}
    assert {result.outcome for result in results.values()} == {Outcome.VERIFIED}
    modes = {name: [one.mode for one in seen[name]] for name in seen}
    last = LoadMode.INERT if policy is LoadPolicy.INERT else LoadMode.REAL
    assert modes == {"x_tables": [LoadMode.REAL], "xt_comment": [LoadMode.REAL], "nls_utf8": [last]}


def test_what_cannot_be_loaded_first_is_named_by_the_console(
    engine: Engine, toolchain: Toolchain, spec: Spec, tmp_path: Path
) -> None:
    _, guest = spec(lambda content: content[: len(content) // 2])
    with (
        pytest.raises(GuestError, match=r"guest cannot load a module that it needs: .*000-x_tables\.ko"),
        booted(engine.runner(toolchain.image), guest, Accel.TCG, tmp_path / "console.log", pytest.fail),
    ):
        pytest.fail("it came up")
