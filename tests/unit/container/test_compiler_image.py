# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The images with another compiler than the suite's own."""

from __future__ import annotations

import pytest

from kbtf_ci.container import compiler_image, guest_image, image
from kbtf_ci.container.images import _OWN, _is_current, _purpose
from kbtf_ci.model.compiler import compiler_named
from kbtf_ci.model.machines.table import FOREIGN

NAMES = ("gcc-13", "clang", "clang-19", "clang-21+rust")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_named_for_compiler_suite_and_what_it_stands_on(name: str) -> None:
    compiler = compiler_named(name)
    made = compiler_image.name_on(compiler, "", "trixie", "kbtf-ci/toolchain:trixie-1")
    assert made.startswith(f"kbtf-ci/compiler-{name.replace('+', '.')}:trixie-")
    assert made.startswith(_OWN)
    assert made != compiler_image.name_on(compiler, "", "trixie", "kbtf-ci/toolchain:trixie-2")
    assert _purpose(made) == f"{name.replace('+', '.')}, on the toolchain of trixie, by an earlier recipe"


@pytest.mark.parametrize("name", NAMES)
def test_prune_knows_the_one_that_a_build_would_use(name: str) -> None:
    compiler, toolchain = compiler_named(name), image.image_name("trixie")
    assert _is_current(compiler_image.name_on(compiler, "", "trixie", toolchain))
    for machine in FOREIGN:
        below = guest_image.image_name(machine, "trixie", toolchain)
        assert _is_current(compiler_image.name_on(compiler, machine.triplet, "trixie", below))
    assert not _is_current(compiler_image.name_on(compiler, "", "trixie", "kbtf-ci/toolchain:trixie-1"))
    assert not _is_current("kbtf-ci/compiler-clang-19:sid-0123456789ab")


def test_accounts_are_kept_of_the_linker_that_kbuild_calls() -> None:
    text = compiler_image._containerfile(compiler_named("clang-19"), "").decode()
    assert "for name in ld.lld-19; do ln -s /usr/bin/kbtf-ci-account" in text
    assert "install -y --no-install-recommends clang-19 lld-19 llvm-19 " in text
