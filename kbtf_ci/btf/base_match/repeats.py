# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a module has though its base has it: whoever wrote its BTF did not find it there.

The kernel takes such BTF. It is larger than it has to be, with all that leads to these types, and to BPF a
struct of a module's is another than vmlinux's.

* Typedefs: libbpf 1.7 hashes those of base and module in two ways, since its commit 37027144; 5b0f3729
  mends it.
* Structs: where a compiler describes one type twice in a compilation unit, libbpf up to 1.5 takes the struct
  around it for another. By gcc with typeof_unqual the kernel's per-CPU pointers are such since 6.15 (commit
  ac053946f5c4), by clang 21 they are not; libbpf's commits c8a28812 and 5ee9fbf7, in 1.6, mend it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kbtf_ci.btf.format.names import Ints
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind

_NAME_SHIFT = 32
# Every module has an object of this type, and with it the type. Others may have a struct of their own that
# only looks like one of vmlinux's.
_TELLTALE = "module"

_Struct = tuple[int, int, int]


@dataclass(frozen=True)
class Repeats:
    """How many typedefs and named structs of its base a module's BTF has once more."""

    typedefs: int = 0
    structs: int = 0


@dataclass(frozen=True)
class OfBase:
    """The typedefs and named structs and unions of a base; split BTF names them by the base's own strings."""

    typedefs: Ints
    structs: frozenset[_Struct]
    telltale: _Struct | None

    @classmethod
    def of(cls, base: Btf) -> OfBase:
        """Return those of a vmlinux."""
        telltale = next((one - base.start_id for one in base.find(_TELLTALE, Kind.STRUCT)), None)
        found = None if telltale is None else next(_structs(base, np.array([telltale])))
        return cls(_typedefs(base), frozenset(_structs(base, _named(base))), found)

    def repeated_in(self, btf: Btf) -> Repeats:
        """Return what of them split BTF has once more, structs where ``struct module`` is among these."""
        typedefs = int(np.isin(_typedefs(btf), self.typedefs).sum())
        own = list(_structs(btf, _named(btf)))
        structs = sum(one in self.structs for one in own) if self.telltale in own else 0
        return Repeats(typedefs, structs)


def _typedefs(btf: Btf) -> Ints:
    """Return each as one number of its name's offset and the type that it stands for."""
    found = btf.records.of(Kind.TYPEDEF)
    return btf.records.name_off[found] << _NAME_SHIFT | btf.records.value[found]


def _named(btf: Btf) -> Ints:
    found = btf.records.of(Kind.STRUCT, Kind.UNION)
    return found[btf.records.name_off[found] != 0]


def _structs(btf: Btf, indices: Ints) -> Iterator[_Struct]:
    """Yield each as its name's offset, kind and number of members, and size."""
    records = btf.records
    columns = (records.name_off[indices], records.words[records.at[indices] + 1], records.value[indices])
    yield from zip(*(column.tolist() for column in columns), strict=True)
