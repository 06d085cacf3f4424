# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the verifier demands of a kfunc's prototype when a program calls it.

Of every one that it can be told how it is called, and of one with KF_ACQUIRE, alone of the flags, that it
returns a pointer to a struct or union, but for those that the verifier itself gives a type to
(kernel/bpf/verifier.c, add_kfunc_call() and check_kfunc_call(); the same from 6.1 to 7.3).
"""

from __future__ import annotations

from typing import Final

from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.fentry import is_distilled
from kbtf_ci.btf.usable.sets import Kfunc
from kbtf_ci.btf.usable.types import NoPrototypeError, Prototype, Types
from kbtf_ci.model.usable import Unusable

_ACQUIRE: Final = 1 << 0  # KF_ACQUIRE, include/linux/btf.h
_TYPED_BY_VERIFIER: Final = ("bpf_obj_new", "bpf_percpu_obj_new", "bpf_refcount_acquire")
# Made to be refused: tools/testing/selftests/bpf/progs/kfunc_call_fail.c calls it.
_REFUSED_BY_DESIGN: Final = "bpf_kfunc_call_test_acq_rdonly_mem"
_ARGUMENTS: Final = "give it at most 12 arguments, each a number, a pointer, or a struct of up to 16 bytes"
_RETURN: Final = "return a pointer to a struct, or leave KF_ACQUIRE out"


def is_called_by_none(types: Types, kfunc: Kfunc, set_name: str, prototype: Prototype) -> Unusable | None:
    """Return the finding on a kfunc that no program can be made to call, None for any other."""
    if is_distilled(types, prototype):
        return None
    return Unusable(
        kfunc.name, set_name, "kfunc.prototype",
        "it is variadic, or has more than 12 arguments, or one or a result of a kind that none may have: "
        "programs that call it do not load (EINVAL, kernel/bpf/btf.c, btf_distill_func_proto())",
        "6.1", _ARGUMENTS,
    )  # fmt: skip


def acquires_nothing(types: Types, kfunc: Kfunc, set_name: str, prototype: Prototype) -> Unusable | None:
    """Return the finding on a kfunc that acquires what is no struct, None for any other."""
    exempt = types.own.base is None and kfunc.name.removesuffix("_impl") in _TYPED_BY_VERIFIER
    exempt = exempt or kfunc.name == _REFUSED_BY_DESIGN
    if not kfunc.flags & _ACQUIRE or exempt or _is_struct_pointer(types, prototype.returns):
        return None
    return Unusable(
        kfunc.name, set_name, "kfunc.acquire",
        "it has KF_ACQUIRE and returns no pointer to a struct: programs that call it do not load (EINVAL, "
        "kernel/bpf/verifier.c, check_kfunc_call())",
        "6.1", _RETURN,
    )  # fmt: skip


def _is_struct_pointer(types: Types, type_id: int) -> bool:
    try:
        _, kind, pointed = types.plain(type_id)
        return kind is Kind.PTR and types.plain(pointed)[1] in (Kind.STRUCT, Kind.UNION)
    except NoPrototypeError:
        return False
