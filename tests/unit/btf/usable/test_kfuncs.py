# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Sets of kfuncs read from .BTF_ids, and what keeps programs from calling them, over BTF written by hand."""

from __future__ import annotations

import struct

import pytest

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.usable.kfuncs import kfunc_sets, unusable, unusable_in
from kbtf_ci.model.usable import Unusable
from kbtf_ci.objfile.elf import ElfImage
from tests.support import sketch as sk
from tests.support.elf import make_elf

IMPLICIT = 1 << 16  # KF_IMPLICIT_ARGS
ACQUIRE = 1  # KF_ACQUIRE


class Kernel:
    """BTF with functions whose last argument is what is named: of bpf_prog_aux, another struct, or none."""

    def __init__(self) -> None:
        self.sketch = sk.Sketch(strings=bytearray(b"\0"))
        self.structs = {}
        for name in ("bpf_prog_aux", "btf_struct_meta", "task_struct"):
            struct_id = self.sketch.add(sk.STRUCT, self.sketch.string(name), 8)
            self.structs[name] = self.sketch.add(sk.PTR, 0, struct_id)

    def function(self, name: str, last: str = "") -> int:
        parameters = [0, self.structs[last]] if last else []
        proto = self.sketch.add(sk.FUNC_PROTO, 0, 0, *parameters, vlen=len(parameters) // 2)
        return self.sketch.add(sk.FUNC, self.sketch.string(name), proto)

    @property
    def btf(self) -> Btf:
        return Btf.parse(self.sketch.bytes())


def ids(*words: int, order: str = "<") -> bytes:
    return struct.pack(f"{order}{len(words)}I", *words)


def found(kernel: Kernel, *words: int, symbols: dict[int, str] | None = None) -> list[Unusable]:
    return list(unusable(kernel.btf, kfunc_sets(ids(*words), "<", kernel.btf, symbols or {})))


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_set_is_told_by_its_flag_and_by_functions_that_ascend(kernel: Kernel, order: str) -> None:
    one, two, three = (kernel.function(name) for name in ("one", "two", "three"))
    words = (7, one, 0, 2, 1, one, ACQUIRE, two, 0, 9, 1, 1, three, IMPLICIT)
    sets = list(kfunc_sets(ids(*words, order=order), order, kernel.btf, {12: "__BTF_ID__set8__my_set"}))
    assert [(one.offset, one.name) for one in sets] == [(12, "my_set"), (40, "")]
    assert [[kfunc.name for kfunc in one.kfuncs] for one in sets] == [["one", "two"], ["three"]]
    assert [kfunc.flags for one in sets for kfunc in one.kfuncs] == [ACQUIRE, 0, IMPLICIT]


def test_what_only_looks_like_a_set_is_none(kernel: Kernel) -> None:
    one, two = kernel.function("one"), kernel.function("two")
    proto = two - 1
    for words in (
        (2, 0, one, 0, two, 0),  # another's flags
        (2, 1, two, 0, one, 0),  # descending
        (2, 1, one, 0, one, 0),  # twice the same
        (1, 1, proto, 0),  # no function
        (1, 1, 0, 0),  # nothing known
        (3, 1, one, 0, two, 0),  # behind the end
        (1, 1, one, 1 << 20),  # no kfunc's flags
        (1 << 31, 1, one, 0),
        (1, 1),
        (),
    ):
        assert list(kfunc_sets(ids(*words), "<", kernel.btf, {})) == [], words
    assert list(kfunc_sets(ids(1, 1, one, 0) + b"\1\0", "<", kernel.btf, {}))


@pytest.mark.parametrize(
    ("last", "implementation", "rule"),
    [
        ("bpf_prog_aux", True, "kfunc.implicit"),
        ("btf_struct_meta", False, "kfunc.implicit"),
        ("task_struct", True, ""),
        ("task_struct", False, "kfunc.impl"),
        ("", True, ""),
        ("", False, "kfunc.impl"),
    ],
)
def test_an_implicit_argument_is_gone_from_the_prototype_and_its_twin_is_there(
    kernel: Kernel, last: str, implementation: bool, rule: str
) -> None:
    kfunc = kernel.function("kick", last)
    if implementation:
        kernel.function("kick_impl", "bpf_prog_aux")
    rules = [one.rule for one in found(kernel, 1, 1, kfunc, IMPLICIT)]
    assert rules == ([rule] if rule else [])
    assert found(kernel, 1, 1, kfunc, 0) == []  # as an _impl registered in the old style is


def test_a_kfunc_of_several_sets_is_told_once(kernel: Kernel) -> None:
    kfunc = kernel.function("kick", "bpf_prog_aux")
    (one,) = found(kernel, 1, 1, kfunc, IMPLICIT, 1, 1, kfunc, IMPLICIT)
    assert (one.kfunc, one.since) == ("kick", "7.0")
    assert "struct bpf_prog_aux *" in one.line


def test_an_id_of_0_is_named_by_its_symbol_where_there_is_one(kernel: Kernel) -> None:
    kfunc = kernel.function("kept")
    words = (2, 1, 0, 0, kfunc, 0)
    (one,) = found(kernel, *words, symbols={0: "__BTF_ID__set8__s", 8: "__BTF_ID__func__lost_one__417"})
    assert (one.kfunc, one.set_name, one.rule) == ("lost_one", "s", "kfunc.id")
    (bare,) = found(kernel, *words)
    assert bare.line.startswith("a kfunc: its id is 0")


def test_a_set_without_one_known_id_is_told_by_its_symbol(kernel: Kernel) -> None:
    words = (2, 1, 0, 0, 0, ACQUIRE)
    symbols = {0: "__BTF_ID__set8__s", 8: "__BTF_ID__func__a__1", 16: "__BTF_ID__func__b__2"}
    assert [(one.kfunc, one.rule) for one in found(kernel, *words, symbols=symbols)] == [
        ("a", "kfunc.id"),
        ("b", "kfunc.id"),
    ]
    assert found(kernel, *words) == []  # any other words may be so


def test_a_module_finds_the_twin_in_vmlinux(kernel: Kernel) -> None:
    kernel.function("kick_impl", "bpf_prog_aux")
    base = kernel.btf
    own = sk.Sketch(base.nr_types, len(base.strings.data))
    kfunc = own.add(sk.FUNC, own.string("kick"), own.add(sk.FUNC_PROTO))
    module = Btf.parse(own.bytes(), base)
    assert list(unusable(module, kfunc_sets(ids(1, 1, kfunc, IMPLICIT), "<", module, {}))) == []


REGISTERS = b"\0register_btf_kfunc_id_set\0"


@pytest.mark.parametrize(
    ("version", "flags", "names", "rules"),
    [
        ((6, 12), 0, REGISTERS, ["kfunc.flag"]),
        ((6, 8), 0, REGISTERS, []),
        ((6, 12), 1, REGISTERS, []),
        ((6, 12), 0, b"\0printk\0", []),
        ((6, 12), 0, REGISTERS + b"register_btf_fmodret_id_set\0", []),
    ],
)
def test_a_module_that_registers_kfuncs_has_the_flag_in_its_sets(
    kernel: Kernel, version: tuple[int, int], flags: int, names: bytes, rules: list[str]
) -> None:
    kfunc = kernel.function("mine")
    image = ElfImage(make_elf([(".BTF_ids", ids(1, flags, kfunc, 0)), (".strtab", names)]))
    found = unusable_in(image, kernel.btf, version)
    assert [one.rule for one in found] == rules
    assert all(one.kfunc == "mine" for one in found)


def test_a_file_without_ids_has_nothing_to_say(kernel: Kernel) -> None:
    assert unusable_in(ElfImage(make_elf([(".text", b"")])), kernel.btf, (7, 2)) == ()
