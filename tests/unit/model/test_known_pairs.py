# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import pytest

from kbtf_ci.model.known_pairs import known_pairs


def config(clang: int = 0, pahole: int = 130, **more: str) -> dict[str, str]:
    return {"CONFIG_CLANG_VERSION": f"{clang}0107", "CONFIG_PAHOLE_VERSION": str(pahole), **more}


@pytest.mark.parametrize(
    ("values", "architecture", "words"),
    [
        (config(20), "riscv64", ["clang 20 with pahole 1.30 on riscv64"]),
        (config(21, 131), "ppc64le", ["two variables of one section get one offset"]),
        (config(19), "riscv64", []),
        (config(20), "x86_64", []),
        (config(20, 132), "riscv64", ["a function that gets an argument in another register"]),
        (config(19, 132), "x86_64", ["clang 19 with pahole 1.32"]),
        (config(0, 132), "x86_64", []),
        (config(0, 128, CONFIG_GENDWARFKSYMS="y"), "x86_64", ["CONFIG_GENDWARFKSYMS with pahole 1.28"]),
        (config(0, 129, CONFIG_GENDWARFKSYMS="y"), "x86_64", ["pahole 1.29"]),
        (config(0, 130, CONFIG_GENDWARFKSYMS="y"), "x86_64", []),
        (config(0, 128, CONFIG_GENDWARFKSYMS="y"), "arm64", []),
        (config(0, 128), "x86_64", []),
        ({}, "x86_64", []),
        ({"CONFIG_CLANG_VERSION": "x"}, "riscv64", []),
    ],
)
def test_known_pairs_are_told(values: dict[str, str], architecture: str, words: list[str]) -> None:
    found = known_pairs(values, architecture)
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


@pytest.mark.parametrize("libbpf", ["", "built in", "1.6.3", "1.8.0"])
def test_a_libbpf_that_does_not_repeat_typedefs_is_good(libbpf: str) -> None:
    assert known_pairs(config(0), "x86_64", libbpf) == ()


@pytest.mark.parametrize(
    ("libbpf", "kernel", "gcc", "told"),
    [
        ("1.5.0", (7, 2), "140200", True),
        ("1.1.2", (6, 15), "140200", True),
        ("1.5 built in", (7, 2), "160000", True),
        ("1.6.3", (7, 2), "140200", False),
        ("1.5.0", (6, 12), "140200", False),
        ("1.5.0", (7, 2), "130300", False),
        ("1.5.0", (7, 2), "0", False),
        ("built in", (7, 2), "140200", False),
        ("1.5.0", None, "140200", False),
    ],
)
def test_a_libbpf_that_repeats_structs_of_such_a_kernel_is_told(
    libbpf: str, kernel: tuple[int, int] | None, gcc: str, told: bool
) -> None:
    values = config(CONFIG_GCC_VERSION=gcc, CONFIG_USE_X86_SEG_SUPPORT="y")
    found = known_pairs(values, "x86_64", libbpf, kernel)
    assert [line.partition(":")[0] for line in found] == [
        f"pahole 1.30 with libbpf {libbpf}, gcc and Linux 6.15 or later"
    ] * told
    assert known_pairs({**values, "CONFIG_USE_X86_SEG_SUPPORT": "n"}, "x86_64", libbpf, kernel) == ()


def test_a_libbpf_that_repeats_typedefs_is_told() -> None:
    (line,) = known_pairs(config(0, 132), "x86_64", "1.7.0")
    assert line.startswith("pahole 1.32 with libbpf 1.7.0: modules' BTF has vmlinux's typedefs once more")
