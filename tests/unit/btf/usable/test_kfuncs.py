# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kfuncs of sets that are registered, and that programs cannot call all the same."""

from __future__ import annotations

import pytest

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.usable.kfuncs import unusable_in
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.version import Version
from kbtf_ci.objfile.elf import ElfImage
from tests.support import sketch as sk
from tests.support.elf import make_elf
from tests.support.kfunc_sets import ACQUIRE, FLAGGED, IMPLICIT, Kernel, make_image


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


def found(kernel: Kernel, *words: int, version: Version = (7, 2), order: str = "<") -> list[Unusable]:
    return list(unusable_in(make_image(words, order=order), kernel.btf, version))


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
    kfunc = kernel.function("kick", *([kernel.to_struct(last)] if last else []))
    if implementation:
        kernel.function("kick_impl", kernel.to_struct("bpf_prog_aux"))
    rules = [one.rule for one in found(kernel, 1, FLAGGED, kfunc, IMPLICIT)]
    assert rules == ([rule] if rule else [])
    assert found(kernel, 1, FLAGGED, kfunc, 0) == []  # as an _impl registered in the old style is


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_kfunc_of_several_sets_is_told_once(kernel: Kernel, order: str) -> None:
    kfunc = kernel.function("kick", kernel.to_struct("bpf_prog_aux"))
    (one,) = found(kernel, 1, 1, kfunc, IMPLICIT, 1, 1, kfunc, IMPLICIT, order=order)
    assert (one.kfunc, one.since) == ("kick", "7.0")
    assert "struct bpf_prog_aux *" in one.line


def test_a_module_finds_the_twin_in_vmlinux(kernel: Kernel) -> None:
    kernel.function("kick_impl", kernel.to_struct("bpf_prog_aux"))
    module = Kernel(kernel.btf)
    assert found(module, 1, 1, module.function("kick"), IMPLICIT) == []


@pytest.mark.parametrize("version", [(6, 1), (6, 12), (7, 3)])
def test_what_acquires_returns_a_pointer_to_a_struct(kernel: Kernel, version: Version) -> None:
    union = kernel.sketch.add(sk.UNION, kernel.sketch.string("u"), 8)
    for sound in (
        kernel.to_struct("held"),
        kernel.pointer(union),
        kernel.const(kernel.pointer(kernel.const(union))),
    ):
        assert found(kernel, 1, 1, kernel.function("get", returns=sound), ACQUIRE, version=version) == []
    for other in (0, kernel.int, kernel.pointer(0), kernel.pointer(kernel.int)):
        function = kernel.function("get", returns=other)
        (one,) = found(kernel, 1, 1, function, ACQUIRE, version=version)
        assert (one.rule, one.kfunc) == ("kfunc.acquire", "get")
        assert found(kernel, 1, 1, function, 0, version=version) == []


def test_what_cannot_be_told_how_it_is_called_is_called_by_none(kernel: Kernel) -> None:
    small, large = kernel.struct("small", 16), kernel.struct("large", 24)
    for name, parameters, returns, rules in (
        ("fine", (kernel.int, small), kernel.int, []),
        ("variadic", (kernel.int, 0), 0, ["kfunc.prototype"]),
        ("many", (kernel.int,) * 13, 0, ["kfunc.prototype"]),
        ("by_value", (large,), 0, ["kfunc.prototype"]),
        ("returned", (), small, ["kfunc.prototype"]),
    ):
        function = kernel.function(name, *parameters, returns=returns)
        for flags in (0, ACQUIRE) if rules else (0,):
            assert [one.rule for one in found(kernel, 1, 1, function, flags)] == rules, name


@pytest.mark.parametrize(
    "name", ["bpf_obj_new_impl", "bpf_percpu_obj_new_impl", "bpf_refcount_acquire", "bpf_obj_new"]
)
def test_the_verifier_gives_a_type_to_some_of_vmlinux(kernel: Kernel, name: str) -> None:
    words = (1, 1, kernel.function(name, returns=kernel.pointer(0)), ACQUIRE)
    assert found(kernel, *words) == []
    module = Kernel(Kernel().btf)
    mine = module.function(name, returns=module.pointer(0))
    assert [one.rule for one in found(module, 1, 1, mine, ACQUIRE)] == ["kfunc.acquire"]


@pytest.mark.parametrize("base", [None, Kernel().btf])
def test_the_kernel_s_own_test_of_the_refusal_is_no_finding(base: Btf | None) -> None:
    """In vmlinux of 6.1 (net/bpf/test_run.c), later in bpf_testmod."""
    own = Kernel(base)
    function = own.function("bpf_kfunc_call_test_acq_rdonly_mem", returns=own.pointer(own.int))
    assert found(own, 1, 1, function, ACQUIRE) == []


def test_a_file_without_ids_has_nothing_to_say(kernel: Kernel) -> None:
    assert unusable_in(ElfImage(make_elf([(".text", b"")])), kernel.btf, (7, 2)) == ()
