# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.kernel.kconfig_files import Definition, definitions, names_now, unmet
from tests.support import faketree


def test_conditions_of_enclosing_blocks_come_first(tmp_path: Path) -> None:
    known = definitions(faketree.plant(tmp_path))
    assert known["ALPHA_FS"] == [
        Definition("ALPHA_FS", "fs/Kconfig:4", ("BLOCK", "MODULES && (BLOCK || !MODULES)"))
    ]
    assert known["GAMMA"][0].depends == ("MODULES", 'PAHOLE_VERSION < 100 || BETA="m"')


def test_an_old_name_leads_to_the_new_one(tmp_path: Path) -> None:
    known = definitions(faketree.plant(tmp_path))
    assert names_now("DELTA_ONE", known) == ("DELTA",)
    assert names_now("DELTA", known) == ("DELTA",)
    assert names_now("NO_SUCH", known) == ("NO_SUCH",)


def test_a_help_text_is_no_statement(tmp_path: Path) -> None:
    known = definitions(faketree.plant(tmp_path))
    assert known["BROKEN"][0].depends == ()
    assert known["BLOCK"][0].depends == ()


def test_other_architectures_are_left_out(tmp_path: Path) -> None:
    tree = faketree.plant(tmp_path)
    for arch in ("x86", "arm64"):
        (tree / "arch" / arch).mkdir(parents=True)
        (tree / "arch" / arch / "Kconfig").write_text(f"config {arch.upper()}\n\tbool\n")
    assert {"X86"} == {"X86", "ARM64"} & set(definitions(tree))


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("A", True),
        ("B", False),
        ("M", False),  # a tristate of m lets nothing be y
        ("!B && A", True),
        ("A || B", True),
        ("(A || B) && B", False),
        ("!(A && B)", True),
        ("A=y", True),
        ("A!=y", False),
        ("M=m", True),
        ('S="text"', True),
        ("N >= 119", True),
        ("N < 119", False),
        ("N <= 130 && N > 129", True),
        ("$(cc-option,-mfoo)", True),
        ("HEX > 0x10", True),
    ],
)
def test_expressions(condition: str, met: bool) -> None:
    values = {"A": "y", "M": "m", "S": '"text"', "N": "130", "HEX": "0x20"}
    assert (unmet(Definition("X", "Kconfig:1", (condition,)), values) == []) is met


def test_what_is_to_blame_is_named() -> None:
    (said,) = unmet(Definition("X", "Kconfig:1", ("A && B",)), {"A": "y"})
    assert said == "depends on A && B (A=y, B is not set)"
