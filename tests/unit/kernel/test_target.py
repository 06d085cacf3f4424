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
from kbtf_ci.model.compiler import compiler_named
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


def test_another_compiler_takes_the_place_of_gcc_and_clang_brings_its_own_linker() -> None:
    tree = Source(Path("/tree"), "6.12", "tree", "key")
    words = {
        (arch, name): Kbuild(
            LocalRunner(), tree, Path("/b"), Path("/c"), 2, "none", target=target_of(arch),
            compiler=compiler_named(name),
        ).argv("all")
        for arch in ("x86_64", "s390x") for name in ("gcc-13", "clang-19", "clang-19+rust")
    }  # fmt: skip
    assert {"CC=ccache gcc-13", "HOSTCC=ccache gcc-13"} <= set(words["x86_64", "gcc-13"])
    assert {"CC=ccache s390x-linux-gnu-gcc-13", "HOSTCC=ccache gcc-13"} <= set(words["s390x", "gcc-13"])
    for arch in ("x86_64", "s390x"):
        assert {"LLVM=-19", "CC=ccache clang-19", "HOSTCC=ccache clang-19"} <= set(words[arch, "clang-19"])
        assert {"CC=ccache clang-19", "HOSTCC=clang-19"} <= set(
            words[arch, "clang-19+rust"]
        )  # rustc's linker
    assert not any(word.startswith("LLVM=") for word in words["x86_64", "gcc-13"])


def test_another_architecture_is_a_line() -> None:
    with pytest.raises(UsageError, match=r"--arch mips: no kernel is built for that") as caught:
        target_of("mips")
    assert "riscv64" in caught.value.hint
