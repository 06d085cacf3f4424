# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel makes of fentry programs on a module's functions, from its BTF and its symbols.

The order of its checks: the prototype first (kernel/bpf/btf.c, btf_distill_func_proto(), from
bpf_check_attach_target() in verifier.c), then whether the function has an address, and only when a program is
attached whether ftrace has a place there (trampoline.c, register_fentry()).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.types import NoPrototypeError, Prototype, Types
from kbtf_ci.model.proof import Function, StructArgument, Traceable
from kbtf_ci.objfile.tracing import Places

_MOST_ARGUMENTS: Final = 12  # MAX_BPF_FUNC_ARGS, include/linux/bpf.h
_LARGEST: Final = 16  # bytes of an argument, btf_distill_func_proto()
_SLOT: Final = 8
# What __get_type_size() knows a size of; a union is none of them, and a struct is returned by none.
_SIZED: Final = frozenset({Kind.INT, Kind.ENUM, Kind.ENUM64, Kind.STRUCT})
_COMPOUND: Final = frozenset({Kind.STRUCT, Kind.UNION})


class _SignatureError(Exception):
    """No program may be attached to a function of this prototype."""


def functions(btf: Btf, places: Places) -> Iterator[Function]:
    """Yield what is predicted of each FUNC of a module's own."""
    types = Types(btf)
    for index in btf.records.of(Kind.FUNC).tolist():
        type_id = btf.start_id + index
        name = btf.name(type_id)
        try:
            arguments = tuple(_arguments(types, types.prototype(type_id)))
        except (_SignatureError, NoPrototypeError):
            yield Function(type_id, name, Traceable.SIGNATURE)
        else:
            yield Function(type_id, name, _traceable(name, places), arguments)


def is_distilled(types: Types, prototype: Prototype) -> bool:
    """Return whether btf_distill_func_proto() can tell how a function of this prototype is called."""
    try:
        list(_arguments(types, prototype))
    except (_SignatureError, NoPrototypeError):
        return False
    return True


def _traceable(name: str, places: Places) -> Traceable:
    place = places.kept.get(name)
    if place is None:
        return Traceable.INIT if name in places.init else Traceable.SUFFIX
    return Traceable.ATTACHABLE if places.has_location(place) else Traceable.NO_LOCATION


def _arguments(types: Types, prototype: Prototype) -> Iterator[StructArgument]:
    """Yield the arguments that point to a struct. Raises _SignatureError and NoPrototypeError."""
    if len(prototype.parameters) > _MOST_ARGUMENTS:
        raise _SignatureError
    _check_returned(types, prototype.returns)
    slot = 0
    for number, type_id in enumerate(prototype.parameters):
        if (struct := _pointed_to(types, type_id)) is not None:
            yield StructArgument(number, slot, struct)
        slot += -(-_size(types, type_id) // _SLOT)


def _check_returned(types: Types, type_id: int) -> None:
    if type_id and (_size(types, type_id, void=True) < 0 or types.plain(type_id)[1] in _COMPOUND):
        raise _SignatureError


def _size(types: Types, type_id: int, *, void: bool = False) -> int:
    """Return the bytes of an argument, or of what is returned. Raises _SignatureError."""
    _, kind, value = types.plain(type_id)
    if kind is Kind.PTR:
        return _SLOT  # of the kernels whose trampolines there are, all have 64 bits
    if kind is None and void:
        return 0
    if kind not in _SIZED or (not void and not 0 < value <= _LARGEST):
        raise _SignatureError
    return value


def _pointed_to(types: Types, type_id: int) -> int | None:
    """Return the id of the struct or union that an argument points to, None where it is anything else."""
    _, kind, value = types.plain(type_id)
    if kind is not Kind.PTR or not value:
        return None
    struct, pointed, _ = types.plain(value)
    return struct if pointed in _COMPOUND else None
