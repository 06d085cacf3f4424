# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A distilled base (``.BTF.base``) that fits vmlinux, or does not: tools/lib/bpf/btf_relocate.c, since 6.11.

The module is made for the purpose, over one or two types that every vmlinux has.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.cases.case import (
    ENOENT,
    Altered,
    AlteredBtf,
    Case,
    Healthy,
    NotThereError,
    refused,
    taken,
    without_prefix,
)
from kbtf_ci.btf.cases.edit import TAIL, Written
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.model.case import ANY, Expectation, Expected
from kbtf_ci.model.outcome import Outcome

INT_DATA: Final = 1 << 24 | 32  # BTF_INT_SIGNED, 32 bits: C's int
_STRUCT: Final = "task_struct"
_SOURCE: Final = "tools/lib/bpf/btf_relocate.c, "


@dataclass(frozen=True)
class _Types:
    """Ids of int and of a struct of ``size`` bytes, in the base that a module is written over."""

    number: int
    struct: int
    size: int


def _split(first_id: int, string_base: int, types: _Types) -> Written:
    """Write a module over a base with these types: a function of them, and a struct that embeds one."""
    split = Written(first_id, string_base)
    pointer = split.add(Kind.PTR, 0, types.struct)
    proto = split.add(
        Kind.FUNC_PROTO,
        0,
        types.number,
        split.string("task"),
        pointer,
        split.string("n"),
        types.number,
        vlen=2,
    )
    split.add(Kind.FUNC, split.string("kbtf_ci_function"), proto)
    members = (split.string("task"), types.struct, 0, split.string("n"), types.number, 8 * types.size)
    split.add(Kind.STRUCT, split.string("kbtf_ci_struct"), types.size + 8, *members, vlen=2)
    return split


def _one(vmlinux: Btf, kind: Kind, name: str) -> int:
    """Return the id of vmlinux's only type of that name and kind. Raises NotThereError."""
    found = list(vmlinux.find(name, kind))
    if len(found) != 1:
        raise NotThereError(f"vmlinux has {len(found)} types {name}")
    return found[0]


def _size(vmlinux: Btf, type_id: int) -> int:
    return int(vmlinux.records.value[type_id - vmlinux.start_id])


def _in_vmlinux(vmlinux: Btf) -> _Types:
    struct = _one(vmlinux, Kind.STRUCT, _STRUCT)
    return _Types(_one(vmlinux, Kind.INT, "int"), struct, _size(vmlinux, struct))


def _base(*, number: str = "int", struct: str = _STRUCT, size: int) -> tuple[Written, _Types]:
    base = Written()
    types = _Types(
        base.add(Kind.INT, base.string(number) if number else 0, 4, INT_DATA),
        base.add(Kind.STRUCT, base.string(struct), size),
        size,
    )
    return base, types


def _altered(base: Written, types: _Types, vmlinux: Btf, known: _Types | None = None) -> Altered:
    order = vmlinux.order
    split = _split(base.next_id, len(base.strings), types).bytes(order)
    moved = _split(vmlinux.nr_types, len(vmlinux.strings.data), known).bytes(order) if known else None
    return AlteredBtf(split, base.bytes(order), moved)


def _fits(healthy: Healthy) -> Altered:
    known = _in_vmlinux(healthy.vmlinux)
    base, types = _base(size=known.size)
    return _altered(base, types, healthy.vmlinux, known)


def _name_unknown(healthy: Healthy) -> Altered:
    known = _in_vmlinux(healthy.vmlinux)
    base, types = _base(struct="kbtf_ci_gone", size=known.size)
    return _altered(base, types, healthy.vmlinux)


def _size_differs(healthy: Healthy) -> Altered:
    known = _in_vmlinux(healthy.vmlinux)
    base, types = _base(size=known.size + 8)
    return _altered(base, types, healthy.vmlinux)


def _anonymous(healthy: Healthy) -> Altered:
    known = _in_vmlinux(healthy.vmlinux)
    base, types = _base(number="", size=known.size)
    return _altered(base, types, healthy.vmlinux)


def _odd_kind(healthy: Healthy) -> Altered:
    known = _in_vmlinux(healthy.vmlinux)
    base, types = _base(size=known.size)
    base.add(Kind.PTR, 0, types.struct)
    return _altered(base, types, healthy.vmlinux)


def _two_candidates(healthy: Healthy) -> Altered:
    name, size = _twin(healthy.vmlinux)
    base, types = _base(struct=name, size=size)
    return _altered(base, types, healthy.vmlinux)


def _twin(vmlinux: Btf) -> tuple[str, int]:
    """Return name and size of a struct that vmlinux has twice, both alike. Raises NotThereError."""
    seen: dict[tuple[str, int], int] = defaultdict(int)
    for index in vmlinux.records.of(Kind.STRUCT).tolist():
        name, size = vmlinux.text(int(vmlinux.records.name_off[index])), int(vmlinux.records.value[index])
        seen[name, size] += 1
        if name and size and seen[name, size] > 1:
            return name, size
    raise NotThereError("vmlinux has no two structs of one name and size")


def _foreign_string(healthy: Healthy) -> Altered:
    """Let the module's function go by a name of the base's that is no type's."""
    known = _in_vmlinux(healthy.vmlinux)
    base, types = _base(size=known.size)
    text = base.string("kbtf_ci_text")
    split = _split(base.next_id, len(base.strings), types)
    # The function is the third type: a pointer of three words, a prototype of seven.
    split.words[TAIL + TAIL + 4] = text
    order = healthy.vmlinux.order
    return AlteredBtf(split.bytes(order), base.bytes(order))


_STRING_LOST: Final = "string '' [offset <number>] is not mapped to base BTF"

CASES: Final = (
    Case(
        name="base-fits",
        failure_class=11,
        title="a distilled base that fits: the module is moved to vmlinux",
        story="What an out-of-tree module with .BTF.base should do. /sys/kernel/btf holds what the module "
        "would be if it had been written against this very vmlinux.",
        source=_SOURCE + "btf_relocate(); what it must come to is written by hand",
        expected=taken(),
        make=_fits,
        since=(6, 11),
    ),
    Case(
        name="base-type-gone",
        failure_class=11,
        title="the distilled base has a struct that vmlinux lacks",
        story="The module was built for a kernel with a type that this one does not have, or calls "
        "otherwise.",
        source=_SOURCE + "btf_relocate_map_distilled_base()",
        expected=refused(
            without_prefix("distilled base BTF type 'kbtf_ci_gone' [2] is not mapped to base BTF id")
        ),
        make=_name_unknown,
        since=(6, 11),
    ),
    Case(
        name="base-struct-size",
        failure_class=11,
        title="a struct that the module embeds has another size in vmlinux",
        story="The module embeds a struct of the kernel's that has grown since: another configuration, or "
        "another version of the same name.",
        source=_SOURCE + "btf_mark_embedded_composite_type_ids()",
        expected=refused(
            without_prefix("distilled base BTF type 'task_struct' [2] is not mapped to base BTF id")
        ),
        make=_size_differs,
        since=(6, 11),
    ),
    Case(
        name="base-two-candidates",
        failure_class=11,
        title="vmlinux has the struct twice",
        story="The module refers to a struct whose name two unrelated structs of this kernel share, with "
        "one size: the kernel cannot tell which is meant.",
        source=_SOURCE + "btf_relocate_map_distilled_base()",
        expected=refused(
            without_prefix(
                "distilled base BTF type '<name>' [2], size <number> has multiple candidates of the same "
                "size (ids [<number>, <number>]) in base BTF"
            )
        ),
        make=_two_candidates,
        since=(6, 11),
    ),
    Case(
        name="base-type-without-name",
        failure_class=11,
        title="a type of the distilled base has no name",
        story="A tool other than pahole wrote the base, or it was damaged.",
        source=_SOURCE + "btf_relocate_validate_distilled_base()",
        expected=refused(
            without_prefix("type [1], kind [1] is invalid for distilled base BTF; it is anonymous")
        ),
        make=_anonymous,
        since=(6, 11),
    ),
    Case(
        name="base-kind-unexpected",
        failure_class=11,
        title="the distilled base has a pointer",
        story="A tool other than pahole wrote the base: it may hold named types alone, without what they "
        "refer to.",
        source=_SOURCE + "btf_relocate_validate_distilled_base()",
        expected=refused(without_prefix("type [3] in distilled based BTF has unexpected kind [2]")),
        make=_odd_kind,
        since=(6, 11),
    ),
    Case(
        name="base-string-foreign",
        failure_class=11,
        title="the module uses a string of the distilled base that is no type's name",
        story="A tool that shares strings between the two sections wrote the module.",
        source=_SOURCE + "btf_relocate_rewrite_strs(): without a newline, so printed with what comes next",
        expected=Expectation(
            refused(without_prefix(_STRING_LOST), ENOENT).refusing, Expected(Outcome.DROPPED, log=(ANY,))
        ),
        make=_foreign_string,
        since=(6, 11),
    ),
)
