# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Another suite's pahole runs where a build has it, with that suite's libbpf and beside the image's own."""

from __future__ import annotations

from pathlib import Path

from kbtf_ci.container import suite_pahole_image
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.kernel.kept_pahole import kept_of_image
from kbtf_ci.kernel.pahole import Pahole, libbpf, version


def test_the_pair_is_that_suites(engine: Engine, toolchain: Toolchain, tmp_path: Path) -> None:
    name = suite_pahole_image.ensure(engine, toolchain, "bookworm", lambda line: None)
    program = kept_of_image(name, suite_pahole_image.PLACE, tmp_path, lambda: engine.runner(name))
    runner = engine.runner(toolchain.image)
    own, other = Pahole("pahole", ()), Pahole(f"{suite_pahole_image.PLACE}/pahole", (), program)
    # Debian 12's, frozen: dwarves 1.24, libbpf 1.1.
    assert version(runner, other) == "124"
    assert libbpf(runner, other).startswith("1.1.")
    assert version(runner, own) > "124"
    assert libbpf(runner, own) > libbpf(runner, other)
    again = kept_of_image(name, suite_pahole_image.PLACE, tmp_path, lambda: engine.runner("nosuch"))
    assert again == program
