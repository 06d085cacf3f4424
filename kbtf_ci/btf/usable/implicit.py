# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kfuncs with arguments that the verifier adds by itself (KF_IMPLICIT_ARGS, since 7.0).

The verifier looks for a function of the kfunc's name and ``_impl``, and takes the prototype without those
arguments for the kfunc's own (kernel/bpf/verifier.c, find_kfunc_impl_proto() and is_kfunc_arg_implicit()).
Only a source tree that knows the flag sets it: a set that has it is proof enough that the rule holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.sets import Kfunc
from kbtf_ci.btf.usable.types import NoPrototypeError, Prototype, Types
from kbtf_ci.model.usable import Unusable

_IMPLICIT_ARGS: Final = 1 << 16  # KF_IMPLICIT_ARGS, include/linux/btf.h
# What resolve_btfids takes off the end of a prototype (tools/bpf/resolve_btfids/main.c).
_TAKEN_OFF: Final = ("bpf_prog_aux", "btf_struct_meta")
# Established on kernels of Debian's: 11 such kfuncs in 7.2.12 (pahole 1.30), none in 7.2.13 (1.32) and 7.3.4.
_NEWER_PAHOLE: Final = (
    "programs that call it as its users declare it do not load; pahole gave it no bpf_kfunc tag, by which "
    "resolve_btfids knows it: take pahole 1.32 or later, or Linux 7.3, whose resolve_btfids gives the tags"
)


@dataclass(frozen=True)
class Implicit:
    """Holds kfuncs against what the verifier makes of implicit arguments."""

    types: Types

    def faults(self, kfunc: Kfunc, set_name: str, prototype: Prototype) -> Iterator[Unusable]:
        """Yield what is wrong with a kfunc that has such arguments."""
        if not kfunc.flags & _IMPLICIT_ARGS:
            return
        last = self._struct_pointed_to(prototype.parameters[-1]) if prototype.parameters else ""
        if last in _TAKEN_OFF:
            yield Unusable(
                kfunc.name, set_name, "kfunc.implicit",
                f"its prototype still has the argument struct {last} *, which the verifier adds by itself",
                "7.0", _NEWER_PAHOLE,
            )  # fmt: skip
        elif f"{kfunc.name}_impl" not in self._implementations:
            yield Unusable(
                kfunc.name, set_name, "kfunc.impl",
                f"there is no function {kfunc.name}_impl, which the verifier calls in its place",
                "7.0", _NEWER_PAHOLE,
            )  # fmt: skip

    @cached_property
    def _implementations(self) -> frozenset[str]:
        return frozenset(_functions(self.types.own))

    def _struct_pointed_to(self, type_id: int) -> str:
        try:
            _, kind, pointed = self.types.plain(type_id)
            struct, of, _ = self.types.plain(pointed) if kind is Kind.PTR else (0, None, 0)
        except NoPrototypeError:
            return ""
        return self.types.own.name(struct) if of is Kind.STRUCT else ""


def _functions(btf: Btf) -> Iterator[str]:
    owner: Btf | None = btf
    while owner is not None:
        yield from (name for name in owner.own_names(Kind.FUNC) if name.endswith("_impl"))
        owner = owner.base
