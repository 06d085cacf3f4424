# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The wire format of BTF: names, numbers and sizes (include/uapi/linux/btf.h)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

MAGIC: Final = 0xEB9F
VERSION: Final = 1
HEADER_BYTES: Final = 24
# Since 7.1 a header may go on with layout_off and layout_len.
LAYOUT_HEADER_BYTES: Final = 32
# struct btf_type: name_off, info, size or type.
RECORD_BYTES: Final = 12
MAX_TYPE: Final = 0x000F_FFFF
MAX_KIND: Final = 0x7F
MAX_NAME_OFFSET: Final = 0x00FF_FFFF


class Kind(IntEnum):
    """BTF_KIND_*; 0 is void, which has no record."""

    UNKN = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19

    @classmethod
    def _missing_(cls, value: object) -> Kind | None:
        """Return a member of its own for a kind that came later, such as a layout section steps over."""
        if not isinstance(value, int) or not 0 < value <= MAX_KIND:
            return None
        one = int.__new__(cls, value)
        one._name_, one._value_ = f"KIND_{value}", value
        return one


# Kinds that are proposed and in no release yet, by number (Alan Maguire's series for locations of inlined
# functions, bpf@vger.kernel.org, 8 October 2025). Another kernel may come to use the numbers otherwise.
PROPOSED_KINDS: Final = {20: "LOC_PARAM", 21: "LOC_PROTO", 22: "LOCSEC"}
# struct btf_layout, since 7.1: bytes behind a record's three words, bytes of each entry, flags.
LAYOUT_ENTRY: Final = "BBH"

# Kinds that have a name, known or proposed.
KINDS_TOLD: Final = frozenset({*map(int, Kind), *PROPOSED_KINDS})


def told_kind(number: int) -> str:
    """Return a kind in words, ``kind 20 (LOC_PARAM, as proposed upstream)``."""
    if number in PROPOSED_KINDS:
        return f"kind {number} ({PROPOSED_KINDS[number]}, as proposed upstream)"
    return f"kind {number} ({KIND_NAMES[number]})" if number < len(KIND_NAMES) else f"kind {number}"


# kernel/bpf/btf.c, btf_kind_str: what the kernel calls each kind in its log.
KIND_NAMES: Final[tuple[str, ...]] = ("UNKNOWN", *(kind.name for kind in Kind if kind))

COMPOSITES: Final = (Kind.STRUCT, Kind.UNION)
# kernel/bpf/btf.c, btf_type_is_modifier(): PTR is not one.
MODIFIERS: Final = (Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG)
# Kinds whose third word is a type id.
REFERENCES: Final = (Kind.PTR, *MODIFIERS, Kind.FUNC, Kind.FUNC_PROTO, Kind.VAR, Kind.DECL_TAG)

# Bytes that follow a record, whatever its vlen, and bytes for each of vlen entries.
FIXED_BYTES: Final = {Kind.INT: 4, Kind.ARRAY: 12, Kind.VAR: 4, Kind.DECL_TAG: 4}
ENTRY_BYTES: Final = {
    Kind.STRUCT: 12,  # struct btf_member: name_off, type, offset
    Kind.UNION: 12,
    Kind.ENUM: 8,  # struct btf_enum: name_off, val
    Kind.FUNC_PROTO: 8,  # struct btf_param: name_off, type
    Kind.DATASEC: 12,  # struct btf_var_secinfo: type, offset, size
    Kind.ENUM64: 12,  # struct btf_enum64: name_off, val_lo32, val_hi32
}
