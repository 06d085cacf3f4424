# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What registration demands of the three functions of an open-coded iterator, since 6.4.

The rules are those of btf_check_iter_kfuncs() and btf_check_iter_arg() in kernel/bpf/btf.c, the same in 6.12,
7.2 and 7.3. They came with the flags (commit 215bf4962f6c), so a set that has the flags is proof enough that
the kernel has the rules.
"""

from __future__ import annotations

from typing import Final

from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.sets import Kfunc
from kbtf_ci.btf.usable.types import NoPrototypeError, Prototype, Types

# KF_ITER_NEW, KF_ITER_NEXT and KF_ITER_DESTROY of include/linux/btf.h, and how their functions' names end.
_ROLES: Final = {1 << 8: "new", 1 << 9: "next", 1 << 10: "destroy"}
_PREFIX: Final = "bpf_iter_"
_LONGEST: Final = 127  # characters of a name that the kernel compares
_SLOT: Final = 8


class _FaultError(Exception):
    """What is wrong, as its message."""


def iterator_fault(types: Types, kfunc: Kfunc, prototype: Prototype) -> str:
    """Return what keeps the kernel from taking an iterator's function, "" for nothing or for no such one."""
    roles = [role for flag, role in _ROLES.items() if kfunc.flags & flag]
    if not roles:
        return ""
    try:
        _check(types, kfunc.name, prototype, roles)
    except _FaultError as fault:
        return str(fault)
    return ""


def _check(types: Types, name: str, prototype: Prototype, roles: list[str]) -> None:
    if len(roles) > 1:
        raise _FaultError(f"it has the flags of an iterator's {' and '.join(roles)} at once")
    (role,) = roles
    wanted = f"{_iterator(types, prototype)}_{role}"[:_LONGEST]
    if name != wanted:
        raise _FaultError(f"as an iterator's {role} with this argument it would have to be called {wanted}")
    if role != "new" and len(prototype.parameters) != 1:
        raise _FaultError(f"an iterator's {role} has one argument, this one {len(prototype.parameters)}")
    if role == "next" and not _is_pointer(types, prototype.returns):
        raise _FaultError("an iterator's next returns a pointer, this one does not")
    if role == "destroy" and prototype.returns:
        raise _FaultError("an iterator's destroy returns nothing, this one does")


def _iterator(types: Types, prototype: Prototype) -> str:
    """Return the name of the struct that the first argument points to. Raises _FaultError."""
    try:
        _, kind, pointed = types.plain(prototype.parameters[0]) if prototype.parameters else (0, None, 0)
        struct, of, size = types.plain(pointed) if kind is Kind.PTR else (0, None, 0)
    except NoPrototypeError:
        struct, of, size = 0, None, 0
    name = types.own.name(struct) if of is Kind.STRUCT else ""
    if not name.startswith(_PREFIX):
        raise _FaultError(
            f"the first argument of an iterator's function is no pointer to a struct {_PREFIX}..."
        )
    if not size or size % _SLOT:
        raise _FaultError(f"struct {name} has {size} bytes, an iterator some multiple of {_SLOT}")
    return name


def _is_pointer(types: Types, type_id: int) -> bool:
    try:
        return types.plain(type_id)[1] is Kind.PTR
    except NoPrototypeError:
        return False
