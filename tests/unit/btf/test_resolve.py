# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Split BTF that the kernel would load although it belongs to another base; healthy BTF is never flagged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kbtf_ci.btf.base_match.resolve import BaseMismatch, find_base_mismatch
from kbtf_ci.btf.base_match.targets import NO_SIZE, Targets
from kbtf_ci.btf.rules.check import Kernel, check
from kbtf_ci.btf.rules.versions import Rules
from tests.support import sketch as sk
from tests.support.sketch import Sketch

RULES = Rules.for_version((6, 12))


def vmlinux() -> Sketch:
    """[1] int, [2] void proto, [3] func, [4] struct of 8 bytes, [5] fwd, [6] var, [7] datasec."""
    sketch = Sketch(strings=bytearray(b"\0"))
    number = sketch.add(sk.INT, sketch.string("int"), 4, 0x0100_0020)
    proto = sketch.add(sk.FUNC_PROTO)
    sketch.add(sk.FUNC, sketch.string("boot"), proto)
    sketch.add(sk.STRUCT, sketch.string("pair"), 8, sketch.string("first"), number, 0, vlen=1)
    sketch.add(sk.FWD, sketch.string("opaque"), 0)
    variable = sketch.add(sk.VAR, sketch.string("counter"), number, 1)
    sketch.add(sk.DATASEC, sketch.string(".data..percpu"), 4, variable, 0, 4, vlen=1)
    return sketch


BASE = vmlinux()
INT, PROTO, FUNC, STRUCT, FWD, VAR, DATASEC = range(1, 8)


def split() -> Sketch:
    return Sketch(BASE.end_id, len(BASE.strings))


def look(sketch: Sketch, base: Sketch = BASE) -> BaseMismatch | None:
    kernel = Kernel.open(base.bytes(), RULES)
    verdict = check(kernel, "m", sketch.bytes())
    assert verdict.rule == "", "the kernel itself refuses it"
    assert verdict.btf
    assert kernel.vmlinux
    return find_base_mismatch(verdict.btf, Targets.of(kernel.vmlinux))


def healthy() -> Sketch:
    """A module with something of every kind."""
    one = split()
    pointer = one.add(sk.PTR, 0, STRUCT)
    one.add(sk.PTR, 0, FWD)
    array = one.add(sk.ARRAY, 0, 0, STRUCT, INT, 3)
    constant = one.add(sk.CONST, 0, array)
    name = one.string("m_data")
    one.add(sk.STRUCT, name, 32, name, constant, 0, name, pointer, 192, vlen=2)
    proto = one.add(sk.FUNC_PROTO, 0, 0, name, INT, 0, 0, vlen=2)
    function = one.add(sk.FUNC, one.string("m_init"), proto)
    one.add(sk.DECL_TAG, one.string("bpf_kfunc"), function, 0xFFFF_FFFF)
    variable = one.add(sk.VAR, one.string("m_var"), INT, 0)
    one.add(sk.DATASEC, one.string(".data..m"), 4, variable, 0, 4, vlen=1)
    one.add(sk.TYPEDEF, one.string("m_void"), 0)
    one.add(sk.ENUM, one.string("m_enum"), 4, one.string("M_A"), 0, vlen=1)
    return one


def test_a_healthy_module_is_not_flagged() -> None:
    assert look(healthy()) is None


@pytest.mark.parametrize(
    ("rule", "draw"),
    [
        ("missing", lambda one: one.add(sk.PTR, 0, one.end_id + 1)),
        ("name", lambda one: one.add(sk.FWD, BASE.strings.index(b"opaque") + 2, 0)),
        ("FUNC target", lambda one: one.add(sk.FUNC, one.string("f"), STRUCT)),
        ("FUNC target", lambda one: one.add(sk.FUNC, one.string("f"), 0)),
        ("DATASEC target", lambda one: one.add(sk.DATASEC, one.string(".d"), 4, INT, 0, 4, vlen=1)),
        ("DECL_TAG target", lambda one: one.add(sk.DECL_TAG, one.string("t"), INT, 0xFFFF_FFFF)),
        ("array index", lambda one: one.add(sk.ARRAY, 0, 0, INT, STRUCT, 3)),
        ("no data", lambda one: one.add(sk.PTR, 0, FUNC)),
        ("no data", lambda one: one.add(sk.CONST, 0, VAR)),
        ("no data", lambda one: one.add(sk.FUNC_PROTO, 0, DATASEC)),
        ("no data", lambda one: one.add(sk.FUNC_PROTO, 0, 0, one.string("a"), FUNC, vlen=1)),
        ("no size", lambda one: one.add(sk.STRUCT, 0, 8, 0, FWD, 0, vlen=1)),
        ("no size", lambda one: one.add(sk.ARRAY, 0, 0, PROTO, INT, 2)),
        ("outside", lambda one: one.add(sk.STRUCT, 0, 8, 0, STRUCT, 32, vlen=1)),
        ("outside", lambda one: one.add(sk.UNION, 0, 4, 0, STRUCT, 0, vlen=1)),
        ("outside", lambda one: one.add(sk.STRUCT, 0, 6, 0, INT, 24, vlen=1)),
        ("outside", lambda one: one.add(sk.STRUCT, 0, 6, 0, INT, 24, vlen=1, kflag=1)),
        ("no size", lambda one: one.add(sk.VAR, one.string("v"), FWD, 0)),
        ("no size", lambda one: one.add(sk.VAR, one.string("v"), PROTO, 0)),
        ("function by value", lambda one: one.add(sk.FUNC_PROTO, 0, PROTO)),
        ("function by value", lambda one: one.add(sk.FUNC_PROTO, 0, 0, one.string("a"), PROTO, vlen=1)),
        ("function by value", lambda one: one.add(sk.FUNC_PROTO, 0, one.end_id)),
        ("bit field", lambda one: one.add(sk.STRUCT, 0, 8, 0, STRUCT, 3 << 24, vlen=1, kflag=1)),
        ("bit field", lambda one: one.add(sk.STRUCT, 0, 8, 0, INT, 33 << 24, vlen=1, kflag=1)),
        ("parameter name", lambda one: one.add(sk.FUNC_PROTO, 0, 0, one.string("a b"), INT, vlen=1)),
    ],
)
def test_what_no_encoder_writes_is_flagged(rule: str, draw: Callable[[Sketch], int]) -> None:
    one = healthy()
    broken = draw(one)
    found = look(one)
    assert found
    assert (found.rule, found.type_id, found.count) == (rule, broken, 1)
    assert found.text.startswith(f"[{broken}] ")


def test_the_first_of_several_is_told_and_all_are_counted() -> None:
    one = split()
    first = one.add(sk.PTR, 0, FUNC)
    one.add(sk.FUNC, one.string("f"), INT)
    found = look(one)
    assert found
    assert (found.type_id, found.count) == (first, 2)


def test_a_bit_field_is_not_held_to_its_types_size() -> None:
    one = split()
    one.add(sk.STRUCT, 0, 1, 0, INT, 3 << 24 | 2, vlen=1, kflag=1)
    assert look(one) is None


@pytest.mark.parametrize("kind", [sk.TYPEDEF, sk.CONST])
def test_a_function_by_value_is_seen_through_modifiers(kind: int) -> None:
    one = healthy()
    function = one.add(kind, one.string("m_fn_t") if kind == sk.TYPEDEF else 0, PROTO)
    broken = one.add(sk.FUNC_PROTO, 0, 0, one.string("a"), function, vlen=1)
    found = look(one)
    assert found
    assert (found.rule, found.type_id, found.count) == ("function by value", broken, 1)
    assert found.text == f"[{broken}] FUNC_PROTO takes or returns a function by value: " + (
        f"[{function}] TYPEDEF 'm_fn_t'" if kind == sk.TYPEDEF else f"[{function}] CONST"
    )


def test_pointers_to_functions_are_passed_returned_and_held() -> None:
    one = healthy()
    named = one.add(sk.TYPEDEF, one.string("m_fn_t"), PROTO)
    pointer, other = one.add(sk.PTR, 0, PROTO), one.add(sk.PTR, 0, named)
    one.add(sk.FUNC_PROTO, 0, pointer, one.string("a"), other, vlen=1)
    one.add(sk.STRUCT, 0, 8, one.string("b"), pointer, 0, vlen=1)
    one.add(sk.VAR, one.string("v"), other, 0)
    assert look(one) is None


@pytest.mark.parametrize("bits", [1, 31, 32])
def test_a_bit_field_may_be_as_wide_as_its_type(bits: int) -> None:
    one = healthy()
    one.add(sk.STRUCT, 0, 4, 0, INT, bits << 24, vlen=1, kflag=1)
    assert look(one) is None


def test_a_module_on_a_vmlinux_that_lost_a_function_is_flagged() -> None:
    less = vmlinux()
    del less.records[PROTO - 1 : FUNC]
    for words in less.records:
        for at in sk.type_fields(words):
            words[at] -= 2 * (words[at] > FUNC)
    assert look(healthy(), less) is not None


def test_sizes_go_through_modifiers_and_arrays() -> None:
    one = split()
    array = one.add(sk.ARRAY, 0, 0, STRUCT, INT, 3)
    constant = one.add(sk.CONST, 0, array)
    grid = one.add(sk.ARRAY, 0, 0, constant, INT, 2)
    loop = one.add(sk.ARRAY, 0, 0, one.end_id, INT, 2)
    kernel = Kernel.open(BASE.bytes(), RULES)
    btf = check(kernel, "m", one.bytes()).btf
    assert btf
    assert kernel.vmlinux
    targets = Targets.of(btf, Targets.of(kernel.vmlinux))
    ids = np.array([STRUCT, array, constant, grid, loop, FWD, 0, 10_000])
    assert targets.sizes(ids).tolist() == [8, 24, 24, 48, NO_SIZE, NO_SIZE, NO_SIZE, NO_SIZE]
