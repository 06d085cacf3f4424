# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The three functions of an iterator: btf_check_iter_kfuncs(), btf_check_iter_arg() in kernel/bpf/btf.c."""

from __future__ import annotations

import pytest

from kbtf_ci.btf.usable.kfuncs import unusable_in
from kbtf_ci.model.usable import Unusable
from tests.support import sketch as sk
from tests.support.kfunc_sets import FLAGGED, ITER_DESTROY, ITER_NEW, ITER_NEXT, Kernel, make_image

ROLES = {"new": ITER_NEW, "next": ITER_NEXT, "destroy": ITER_DESTROY}


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def judged(kernel: Kernel, function: int, flags: int) -> list[Unusable]:
    return list(unusable_in(make_image([1, FLAGGED, function, flags]), kernel.btf, (6, 12)))


def test_a_sound_iterator_has_no_finding(kernel: Kernel) -> None:
    iterator = kernel.to_struct("bpf_iter_my_bits", 16)
    behind_const = kernel.const(kernel.pointer(kernel.const(kernel.struct("bpf_iter_c", 8))))
    for function, flags in (
        (kernel.function("bpf_iter_my_bits_new", iterator, kernel.int, returns=kernel.int), ITER_NEW),
        (kernel.function("bpf_iter_my_bits_next", iterator, returns=kernel.pointer(kernel.int)), ITER_NEXT),
        (kernel.function("bpf_iter_my_bits_destroy", iterator), ITER_DESTROY),
        (kernel.function("bpf_iter_c_next", behind_const, returns=kernel.const(iterator)), ITER_NEXT),
    ):
        assert judged(kernel, function, flags) == []


@pytest.mark.parametrize(
    ("name", "role", "struct", "bytes_of_it", "fault"),
    [
        ("bpf_iter_x_fresh", "new", "bpf_iter_x", 8, "have to be called bpf_iter_x_new"),
        ("bpf_iter_y_next", "next", "bpf_iter_x", 8, "have to be called bpf_iter_x_next"),
        ("bpf_iter_x_destroy", "next", "bpf_iter_x", 8, "have to be called bpf_iter_x_next"),
        ("iter_x_new", "new", "iter_x", 8, "no pointer to a struct bpf_iter_"),
        ("bpf_iter_x_new", "new", "bpf_iter_x", 12, "struct bpf_iter_x has 12 bytes"),
        ("bpf_iter_x_new", "new", "bpf_iter_x", 0, "struct bpf_iter_x has 0 bytes"),
    ],
)
def test_name_and_struct_fit(
    kernel: Kernel, name: str, role: str, struct: str, bytes_of_it: int, fault: str
) -> None:
    iterator = kernel.to_struct(struct, bytes_of_it)
    function = kernel.function(name, iterator, returns=iterator if role == "next" else 0)
    (found,) = judged(kernel, function, ROLES[role])
    assert (found.rule, found.kfunc, found.since) == ("kfunc.iter", name, "6.4")
    assert fault in found.why
    assert judged(kernel, function, 0) == []


@pytest.mark.parametrize("role", ROLES)
def test_the_first_argument_points_to_the_struct(kernel: Kernel, role: str) -> None:
    struct = kernel.struct("bpf_iter_x")
    union = kernel.sketch.add(sk.UNION, kernel.sketch.string("bpf_iter_x"), 8)
    for arguments in ([], [kernel.int], [struct], [kernel.pointer(union)], [kernel.pointer(0)]):
        function = kernel.function(f"bpf_iter_x_{role}", *arguments)
        (found,) = judged(kernel, function, ROLES[role])
        assert "the first argument" in found.why


@pytest.mark.parametrize(
    ("role", "more", "returns", "fault"),
    [
        ("next", 1, "pointer", "next has one argument, this one 2"),
        ("destroy", 2, "", "destroy has one argument, this one 3"),
        ("next", 0, "", "next returns a pointer"),
        ("next", 0, "int", "next returns a pointer"),
        ("destroy", 0, "int", "destroy returns nothing"),
    ],
)
def test_arguments_and_what_is_returned(
    kernel: Kernel, role: str, more: int, returns: str, fault: str
) -> None:
    iterator = kernel.to_struct("bpf_iter_x")
    returned = {"": 0, "int": kernel.int, "pointer": iterator}[returns]
    function = kernel.function(f"bpf_iter_x_{role}", iterator, *[kernel.int] * more, returns=returned)
    (found,) = judged(kernel, function, ROLES[role])
    assert fault in found.why


def test_a_function_has_one_role(kernel: Kernel) -> None:
    function = kernel.function("bpf_iter_x_new", kernel.to_struct("bpf_iter_x"))
    (found,) = judged(kernel, function, ITER_NEW | ITER_DESTROY)
    assert "new and destroy at once" in found.why


def test_a_chain_without_an_end_is_no_pointer(kernel: Kernel) -> None:
    const = kernel.const(0)
    kernel.sketch.records[-1][2] = const
    follows = kernel.function("bpf_iter_x_next", kernel.to_struct("bpf_iter_x"), returns=const)
    begins = kernel.function("bpf_iter_x_new", const)
    for function, flag in ((follows, ITER_NEXT), (begins, ITER_NEW)):
        assert [one.rule for one in judged(kernel, function, flag)] == ["kfunc.iter", "kfunc.prototype"]
