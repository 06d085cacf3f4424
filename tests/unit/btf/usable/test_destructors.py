# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Destructors in lists of .BTF_ids: btf_check_dtor_kfuncs() in kernel/bpf/btf.c."""

from __future__ import annotations

import pytest

from kbtf_ci.btf.usable.kfuncs import unusable_in
from kbtf_ci.model.usable import Unusable
from tests.support import sketch as sk
from tests.support.kfunc_sets import FLAGGED, Kernel, make_image, symbols_of

REGISTER = "register_btf_id_dtor_kfuncs"


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def judged(
    kernel: Kernel, function: int, *, name: str = "my_dtor", call: str = REGISTER, named: bool = True
) -> list[Unusable]:
    """Judge a set of one sound kfunc, and behind it a list: a struct and its destructor."""
    kfunc, struct = kernel.function("kfunc"), kernel.struct("held")
    lists = [
        ("my_dtors", 16, 0),
        ("__BTF_ID__struct__held__8", 16, 4),
        (f"__BTF_ID__func__{name}__9", 20, 4),
    ]
    symbols = [*symbols_of("s", ["kfunc"]), *(lists if named else [])]
    image = make_image([1, FLAGGED, kfunc, 0, struct, function], symbols, calls=[call])
    return list(unusable_in(image, kernel.btf, (6, 12)))


def test_a_sound_destructor_has_no_finding(kernel: Kernel) -> None:
    assert judged(kernel, kernel.function("my_dtor", kernel.pointer(0))) == []
    assert judged(kernel, kernel.function("my_dtor", kernel.to_struct("s"))) == []


def test_a_destructor_is_a_function_of_one_pointer(kernel: Kernel) -> None:
    pointer = kernel.pointer(0)
    for function, fault in (
        (0, "its id is 0"),
        (kernel.struct("s"), "is no function's"),
        (1 << 30, "is no function's"),
        (kernel.sketch.add(sk.FUNC, kernel.sketch.string("f"), kernel.int), "no prototype"),
        (kernel.function("f", pointer, returns=kernel.int), "returns nothing"),
        (kernel.function("f"), "one argument, this one 0"),
        (kernel.function("f", pointer, pointer), "one argument, this one 2"),
        (kernel.function("f", kernel.int), "argument is a pointer"),
        (kernel.function("f", kernel.const(pointer)), "argument is a pointer"),
    ):
        (found,) = judged(kernel, function)
        assert (found.rule, found.kfunc) == ("kfunc.dtor", "my_dtor")
        assert fault in found.why


def test_a_linker_may_keep_the_call_s_name_as_the_end_of_another(kernel: Kernel) -> None:
    assert judged(kernel, 0, call=f"__kstrtab_{REGISTER}")


def test_what_is_not_known_to_be_a_destructor_is_not_judged(kernel: Kernel) -> None:
    function = kernel.function("f", kernel.int)
    assert judged(kernel, function, name="my_release") == []
    assert judged(kernel, function, call="printk") == []
    assert judged(kernel, function, named=False) == []
