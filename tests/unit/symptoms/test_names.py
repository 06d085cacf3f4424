# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a quoted name tells: whole, or the tail of another word."""

from __future__ import annotations

import pytest

from kbtf_ci.symptoms.evidence import Group
from kbtf_ci.symptoms.names import Name, judge, shows_shift, told


def group(name: str | None, kind: str = "STRUCT", check: str = "*.name") -> Group:
    return Group(kind=kind, name=name, words="Invalid name", checks=(check,))


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("", "FUNC", Name.EMPTY),
        ("a..percpu", "STRUCT", Name.TAIL),
        (".data..percpu", "STRUCT", Name.TAIL),
        ("2_mode", "STRUCT", Name.TAIL),
        ("P_ENDIAN_BIG", "ENUM", Name.TAIL),
        ("t", "ENUM", Name.TAIL),
        ("-fw.bin", "FUNC", Name.TAIL),
        ("ers/net/ethernet", "FUNC", Name.TAIL),
        ("closure-0", "STRUCT", Name.FOREIGN),
        ("Vec<u8>", "STRUCT", Name.FOREIGN),
        ("core::fmt::Arguments", "STRUCT", Name.FOREIGN),
        ("{impl#3}", "STRUCT", Name.FOREIGN),
        ("asan.module_ctor", "FUNC", Name.DOTTED),
        ("tcp_ack.isra.0", "FUNC", Name.DOTTED),
        ("task_struct", "STRUCT", Name.WHOLE),
        ("width", "", Name.WHOLE),
    ],
)
def test_a_name_is_judged(name: str, kind: str, expected: Name) -> None:
    assert judge(group(name, kind)) is expected


def test_an_enum_that_would_pass_is_refused_for_its_enumerators() -> None:
    one = group("task_fair", "ENUM")
    assert judge(one) is Name.WHOLE
    assert shows_shift(one)
    assert "enumerator" in told(one)


def test_a_whole_name_is_no_shift() -> None:
    for name, kind in (("asan.module_ctor", "FUNC"), ("Vec<u8>", "STRUCT"), ("task_struct", "STRUCT")):
        assert not shows_shift(group(name, kind))
    assert shows_shift(group("a..percpu"))
    assert shows_shift(group(None))


def test_an_offset_beyond_the_strings_is_a_shift() -> None:
    one = group(None, "", "type.name_offset")
    assert shows_shift(one)
    assert "longer string table" in told(one)


def test_a_rule_that_is_not_about_names_is_no_shift() -> None:
    assert not shows_shift(group("", "STRUCT", "member.order"))
