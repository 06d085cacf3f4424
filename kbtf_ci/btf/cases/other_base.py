# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""BTF written against another vmlinux than the one that boots, by how far that moved ids and names.

Which shift is taken is chosen by hand, so that what the kernel stumbles over is the same in every module: the
first name of its own, or its first modifier that refers to a type of its own.
"""

from __future__ import annotations

from typing import Final

from kbtf_ci.btf.cases.case import (
    ELOOP,
    Altered,
    AlteredBtf,
    Case,
    Healthy,
    NotThereError,
    plain,
    refused,
    some_type,
    taken,
)
from kbtf_ci.btf.cases.edit import NAME, THIRD, Draft, written_against
from kbtf_ci.btf.format.fields import name_offsets, type_ids
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import MODIFIERS, Kind

# Kinds whose name the kernel asks to be an identifier (the *_check_meta() of kernel/bpf/btf.c).
_CHECKED: Final = (
    Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FWD, Kind.TYPEDEF, Kind.FUNC, Kind.VAR,
)  # fmt: skip
_FUNCTION_TYPES = 2  # FUNC and FUNC_PROTO


def first_own_name(own: Btf) -> int:
    """Return the offset of the first own string that a record has for its name and the kernel looks at.

    Raises NotThereError where a member or an enumerator comes before it: the kernel words that otherwise.
    """
    draft = Draft(own)
    names = [at for at in name_offsets(own.records).tolist() if draft.words[at] >= draft.string_base]
    records = own.records.at[own.records.of(*_CHECKED)].tolist()
    if not names or names[0] not in {start + NAME for start in records}:
        raise NotThereError("its first name of its own is not a type's")
    return draft.words[names[0]]


def first_own_reference(own: Btf) -> tuple[int, int]:
    """Return the id of the first modifier that refers to a type of its module's own, and that type's id.

    Raises NotThereError.
    """
    draft = Draft(own)
    start = draft.find(*MODIFIERS, suits=lambda start: draft.words[start + THIRD] >= own.start_id)
    return draft.id_at(start), draft.words[start + THIRD]


def _strings_more(healthy: Healthy) -> Altered:
    own = healthy.own
    # Moved by its own length, the first name begins where it ended: it is empty.
    bytes_more = len(own.names.at(first_own_name(own)))
    return AlteredBtf(written_against(own, types=_FUNCTION_TYPES, string_bytes=bytes_more))


def _strings_less(healthy: Healthy) -> Altered:
    first_own_name(healthy.own)
    # Every own name begins on the NUL of the one before it.
    return AlteredBtf(written_against(healthy.own, types=-_FUNCTION_TYPES, string_bytes=-1))


def _much_larger(healthy: Healthy) -> Altered:
    first_own_name(healthy.own)
    bytes_more = len(healthy.own.strings.data)
    return AlteredBtf(written_against(healthy.own, types=2000, string_bytes=bytes_more))


def _types_moved(healthy: Healthy) -> Altered:
    modifier, target = first_own_reference(healthy.own)
    return AlteredBtf(written_against(healthy.own, types=modifier - target))


def _same_counts(healthy: Healthy) -> Altered:
    """Let members, parameters and pointers lead 1,000 types on in vmlinux; the kernel follows none."""
    own, draft = healthy.own, Draft(healthy.own)
    followed = set((own.records.at[own.records.of(*MODIFIERS)] + 2).tolist())
    for place in type_ids(own.records).tolist():
        if 0 < draft.words[place] < own.start_id and place not in followed:
            draft.words[place] = 1 + (draft.words[place] + 999) % (own.start_id - 1)
    if draft.words == own.records.words.tolist():
        raise NotThereError("no reference to a type of vmlinux in its BTF")
    return AlteredBtf(draft.bytes())


CASES: Final = (
    Case(
        name="vmlinux-function-more",
        failure_class=1,
        title="the module was built against a vmlinux with a function more",
        story="Image and modules come from two builds of one version; the modules' vmlinux had one function "
        "more, and so two types and a name that the image's lacks. Names shown are tails of other words.",
        source="kernel/bpf/btf.c, btf_check_all_metas(): the name's check of whichever type has the first",
        expected=refused(some_type("Invalid name")),
        make=_strings_more,
    ),
    Case(
        name="vmlinux-string-less",
        failure_class=1,
        title="the module was built against a vmlinux with a string byte less",
        story="As above, the other way round: the image was linked again and has more than the modules "
        "know. One byte suffices: all of the module's names are empty, or another's tail.",
        source="kernel/bpf/btf.c, btf_check_all_metas(), as above",
        expected=refused(some_type("Invalid name")),
        make=_strings_less,
    ),
    Case(
        name="vmlinux-types-moved",
        failure_class=2,
        title="the module was built against a vmlinux of the same strings and other types",
        story="A stale module in the initramfs: vmlinux gained or lost a type without a name, all ids "
        "behind it moved, and a const or typedef refers to itself by now.",
        source="kernel/bpf/btf.c, btf_check_type_tags(), since eb596b0905584 (5.19)",
        expected=refused(plain("Max chain length or cycle detected"), ELOOP),
        make=_types_moved,
    ),
    Case(
        name="vmlinux-of-another-kernel",
        failure_class=4,
        title="an out-of-tree module was built against a larger kernel's vmlinux",
        story="build/vmlinux is another kernel's, say the container host's: 2,000 types and more string "
        "bytes than the module itself has.",
        source="kernel/bpf/btf.c, btf_check_meta(), btf_name_offset_valid()",
        expected=refused(plain("[<number>] Invalid name_offset:<number>")),
        make=_much_larger,
    ),
    Case(
        name="vmlinux-in-another-order",
        failure_class=24,
        title="the module was built against a vmlinux with as many types and strings, in another order",
        story="Two builds differ in the order of types alone. Members, parameters and pointers lead to "
        "types that mean nothing, and the kernel loads it without a word: its BTF is there, and wrong.",
        source="kernel/bpf/btf.c, btf_parse_module() resolves no type: it has no btf_check_all_types()",
        expected=taken(),
        make=_same_counts,
    ),
)
