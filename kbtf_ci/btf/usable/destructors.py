# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Destructors of kptrs, registered by register_btf_id_dtor_kfuncs() in pairs of a type and a function.

The pairs lie in a list, which only symbols tell from any other: a function of a list whose name ends in
``_dtor`` is taken for one, as those of 6.12 and later are called. What is demanded is in
btf_check_dtor_kfuncs(), kernel/bpf/btf.c, the same from 6.1 to 7.3. That 7.2 and later with CONFIG_CFI want
``void *`` is left out: the file does not say whether the kernel has that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.types import NoPrototypeError, Prototype, Types
from kbtf_ci.model.usable import Unusable

_SUFFIX: Final = "_dtor"
_PROTOTYPE: Final = "declare it as void f(void *), and see that it stays in the BTF: __bpf_kfunc, or noinline"


def unusable_destructors(types: Types, listed: Iterator[tuple[str, int]]) -> Iterator[Unusable]:
    """Yield the destructors that the kernel does not take, of functions in lists by name and type's id."""
    for name, type_id in listed:
        fault = _fault(types, type_id) if name.endswith(_SUFFIX) else ""
        if fault:
            yield Unusable(
                name, "", "kfunc.dtor",
                f"{fault}: the kernel refuses all destructors registered with it (EINVAL, kernel/bpf/btf.c, "
                "btf_check_dtor_kfuncs()), and no map can hold a pointer to their types",
                "6.1", _PROTOTYPE,
            )  # fmt: skip


def _fault(types: Types, type_id: int) -> str:
    if types.kind(type_id) is not Kind.FUNC:
        return f"its id {type_id} is no function's" if type_id else "its id is 0"
    try:
        prototype = types.prototype(type_id)
    except NoPrototypeError:
        return "it has no prototype"
    return _prototype_fault(types, prototype)


def _prototype_fault(types: Types, prototype: Prototype) -> str:
    if prototype.returns:
        return "a destructor returns nothing, this one does"
    if len(prototype.parameters) != 1:
        return f"a destructor has one argument, this one {len(prototype.parameters)}"
    # Not behind modifiers: the kernel looks at the argument's own type.
    if types.kind(prototype.parameters[0]) is not Kind.PTR:
        return "a destructor's argument is a pointer, this one's is not"
    return ""
