# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.model.compiler import DEFAULT, Compiler, Family, compiler_named


@pytest.mark.parametrize("name", ["gcc", "gcc-14", "clang", "clang-19", "gcc+rust", "clang-21+rust"])
def test_a_name_is_a_compiler_and_back(name: str) -> None:
    assert compiler_named(name).name == name


def test_no_name_is_the_suites_gcc() -> None:
    assert compiler_named("") == compiler_named("gcc") == DEFAULT == Compiler(Family.GCC, "")


@pytest.mark.parametrize(
    "name", ["icc", "gcc14", "clang-", "clang-19.1", "gcc-14 rm", "rust", "Clang-19", " gcc"]
)
def test_what_is_no_compiler_is_told_with_those_that_are(name: str) -> None:
    with pytest.raises(UsageError, match="no compiler's name") as caught:
        compiler_named(name)
    assert "clang-19" in caught.value.hint


def test_programs_packages_and_variables_are_those_of_debian_and_kbuild() -> None:
    gcc, clang = compiler_named("gcc-14"), compiler_named("clang-19+rust")
    assert (gcc.program("s390x-linux-gnu-"), gcc.host_program) == ("s390x-linux-gnu-gcc-14", "gcc-14")
    assert (clang.program("s390x-linux-gnu-"), clang.host_program) == ("clang-19", "clang-19")
    assert (gcc.variables, clang.variables) == ((), ("LLVM=-19",))
    assert compiler_named("clang").variables == ("LLVM=1",)
    assert gcc.packages("x86_64-linux-gnu") == ("gcc-14", "gcc-14-x86-64-linux-gnu")
    assert gcc.packages("") == ("gcc-14",)
    assert clang.packages("s390x-linux-gnu") == (
        "clang-19", "lld-19", "llvm-19", "rustc", "bindgen", "rust-src",
    )  # fmt: skip
    assert (gcc.linkers, clang.linkers) == ((), ("ld.lld-19",))
