# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""How kbuild is called for another architecture."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.source import Source
from kbtf_ci.kernel.target import NATIVE, Target, target_of
from tests.support.local import LocalRunner


def argv(target: Target) -> tuple[str, ...]:
    tree = Source(Path("/tree"), "6.12", "tree", "key")
    return Kbuild(LocalRunner(), tree, Path("/b"), Path("/c"), 2, "none", target=target).argv("all")


def test_the_cross_compiler_and_kbuilds_name_are_given() -> None:
    words = argv(target_of("s390x"))
    assert "ARCH=s390" in words
    assert "CROSS_COMPILE=s390x-linux-gnu-" in words
    assert "CC=ccache s390x-linux-gnu-gcc" in words
    assert "HOSTCC=ccache gcc" in words


def test_for_x86_64_make_is_called_as_it_ever_was() -> None:
    assert argv(NATIVE)[5:7] == ("CC=ccache gcc", "HOSTCC=ccache gcc")


def test_another_architecture_is_a_line() -> None:
    with pytest.raises(UsageError, match=r"--arch mips: no kernel is built for that") as caught:
        target_of("mips")
    assert "riscv64" in caught.value.hint
