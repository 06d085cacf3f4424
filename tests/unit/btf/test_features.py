# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel's own BTF says of its checks goes before its version, and the version fills in the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.records import CLASSIC, WIDE
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.predict.kernel_btf import rules_of
from kbtf_ci.btf.rules.features import read_off
from kbtf_ci.btf.rules.versions import Rules
from kbtf_ci.objfile.files import KernelFile
from tests.support import sketch as sk

OLD, NEW = Rules.for_version((5, 14)), Rules.for_version((7, 3))


class Vmlinux:
    """The BTF of a kernel that describes what a test adds to it."""

    def __init__(self) -> None:
        self.sketch = sk.Sketch(strings=bytearray(b"\0"))
        self.integer = self.sketch.add(sk.INT, self.sketch.string("int"), 4, 32)

    def functions(self, *names: str) -> Vmlinux:
        for name in names:
            self.sketch.add(sk.FUNC, self.sketch.string(name), self.sketch.add(sk.FUNC_PROTO), vlen=1)
        return self

    def enum(self, **values: int) -> Vmlinux:
        words = [word for name, value in values.items() for word in (self.sketch.string(name), value)]
        self.sketch.add(sk.ENUM, 0, 4, *words, vlen=len(values))
        return self

    def struct(self, name: str, /, **members: int) -> Vmlinux:
        words = []
        for number, (member, kind) in enumerate(members.items()):
            words += [self.sketch.string(member), kind, 32 * number]
        self.sketch.add(sk.STRUCT, self.sketch.string(name), 4 * len(members), *words, vlen=len(members))
        return self

    def array(self, elements: int) -> int:
        return self.sketch.add(sk.ARRAY, 0, 0, self.integer, self.integer, elements)

    def told(self, rules: Rules = OLD) -> Rules:
        return read_off(Btf.parse(self.sketch.bytes()), rules)


def test_a_kernel_whose_btf_says_nothing_is_judged_by_its_version() -> None:
    assert Vmlinux().told() == OLD
    assert Vmlinux().functions("vfs_read").told(NEW) == NEW


@pytest.mark.parametrize(
    ("functions", "last"),
    [
        ((), Kind.DATASEC),
        (("btf_float_check_meta",), Kind.FLOAT),
        (("btf_float_check_meta", "btf_decl_tag_check_meta"), Kind.DECL_TAG),
        (("btf_decl_tag_check_meta", "btf_enum64_check_meta", "btf_float_check_meta"), Kind.ENUM64),
    ],
)
def test_kinds_that_a_distribution_brought_are_known_by_their_checks(
    functions: tuple[str, ...], last: Kind
) -> None:
    told = Vmlinux().functions("btf_func_check_meta", *functions).told()
    assert (told.last_kind, told.enum_kflag) == (last, last is Kind.ENUM64)
    assert {"last_kind", "enum_kflag", "layout", "relocates"} <= told.read_off


def test_an_enumerator_of_the_last_kind_goes_before_functions() -> None:
    told = Vmlinux().functions("btf_func_check_meta").enum(BTF_KIND_TYPE_TAG=18, BTF_KIND_MAX=18).told()
    assert told.last_kind is Kind.TYPE_TAG
    assert Vmlinux().enum(BTF_KIND_MAX=25).told().last_kind is max(Kind)
    assert Vmlinux().enum(BTF_KIND_MAX=0).told().last_kind is OLD.last_kind


@pytest.mark.parametrize(
    ("functions", "chains", "tag_order"),
    [
        (("btf_check_type_tags",), True, True),
        (("btf_check_modifier_chain_length",), True, False),
        # Either may have been inlined: the version says it then.
        ((), OLD.chains, OLD.tag_order),
    ],
)
def test_chains_are_told_by_the_function_that_follows_them(
    functions: tuple[str, ...], chains: bool, tag_order: bool
) -> None:
    told = Vmlinux().functions("btf_func_check_meta", *functions).told()
    assert (told.chains, told.tag_order) == (chains, tag_order)
    assert ("chains" in told.read_off) == bool(functions)


def test_relocation_is_known_by_its_function_where_btf_c_is_described() -> None:
    assert Vmlinux().functions("btf_func_check_meta", "btf_relocate").told().relocates is True
    assert Vmlinux().functions("btf_func_check_meta").told(NEW).relocates is False
    assert Vmlinux().functions("vfs_read").told(NEW).relocates is True


def test_the_width_of_vlen_is_an_enumerators_value_and_the_classic_one_without() -> None:
    assert Vmlinux().enum(BTF_MAX_VLEN=0xFFFFFF).told().layout is WIDE
    assert Vmlinux().enum(BTF_MAX_VLEN=0xFFFF).told(NEW).layout is CLASSIC
    # As Debian's 7.1.13, which has the layout header already.
    told = Vmlinux().functions("btf_func_check_meta").struct("btf_header", magic=1, layout_off=1).told(NEW)
    assert (told.layout, told.header_bytes) == (CLASSIC, 32)
    assert Vmlinux().struct("btf_header", magic=1, str_len=1).told(NEW).header_bytes == 24


def test_the_longest_name_is_that_of_a_ksym() -> None:
    kernel = Vmlinux()
    assert kernel.struct("bpf_ksym", start=1, name=kernel.array(512)).told().name_limit == 512
    assert Vmlinux().struct("bpf_ksym", start=1, name=1).told().name_limit == OLD.name_limit
    assert Vmlinux().struct("bpf_ksym", name=77).told().name_limit == OLD.name_limit


def test_a_name_that_is_no_function_proves_nothing() -> None:
    kernel = Vmlinux()
    kernel.sketch.string("btf_func_check_meta")
    kernel.struct("btf_relocate", a=1)
    assert kernel.told() == OLD


def kernel_file(btf: bytes) -> KernelFile:
    return KernelFile(Path("vmlinux"), btf, "5.14.0", "", None, "raw", "")


def test_btf_that_cannot_be_read_leaves_the_version() -> None:
    whole = Vmlinux().functions("btf_func_check_meta", "btf_enum64_check_meta").sketch.bytes()
    assert rules_of(kernel_file(whole), (5, 14)).last_kind is Kind.ENUM64
    assert rules_of(kernel_file(whole[:-9]), (5, 14)) == OLD


@pytest.mark.parametrize(
    ("version", "layout", "tag_order", "header"),
    [((7, 0), CLASSIC, True, 24), ((7, 1), CLASSIC, True, 32), ((7, 2), WIDE, False, 32)],
)
def test_what_came_with_7_1_and_with_7_2(
    version: tuple[int, int], layout: object, tag_order: bool, header: int
) -> None:
    rules = Rules.for_version(version)
    assert (rules.layout, rules.tag_order, rules.header_bytes) == (layout, tag_order, header)
    assert rules == replace(rules, read_off=frozenset())
