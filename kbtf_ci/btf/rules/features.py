# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a kernel's own BTF says of how it checks BTF, whatever its version number.

Distributions bring checks to older kernels. vmlinux's BTF describes kernel/bpf/btf.c as it was compiled: its
functions, the enumerators and structs that it works with. A name that is there proves something; one that is
missing does only where the compiler could not have dropped it: a function whose address is taken, or one that
another file calls, while its neighbours are there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from kbtf_ci.btf.format.lookup import enumerator, index_of, members_of
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.records import CLASSIC, WIDE
from kbtf_ci.btf.format.wire import HEADER_BYTES, LAYOUT_HEADER_BYTES, MAX_KIND, Kind
from kbtf_ci.btf.rules.versions import Rules

# In the table of operations of every kernel with split BTF: where it is missing, none of these is described.
_ALWAYS: Final = "btf_func_check_meta"
# In the same table, each with the kind that it came with (kind_ops[] of kernel/bpf/btf.c).
_KIND_CHECKS: Final = (
    ("btf_enum64_check_meta", Kind.ENUM64),
    ("btf_decl_tag_check_meta", Kind.DECL_TAG),
    ("btf_float_check_meta", Kind.FLOAT),
)
_LAST_ENUMERATOR: Final = "BTF_KIND_MAX"  # include/uapi/linux/btf.h, an enumerator since 5.16
_WIDE_ENUMERATOR: Final = "BTF_MAX_VLEN"  # one since f7a6b9eaff3e, a macro before
_LAYOUT_MEMBER: Final = "layout_off"


def read_off(vmlinux: Btf, rules: Rules) -> Rules:
    """Return ``rules`` with what the kernel's own BTF says in the place of what its version does.

    ``Rules.read_off`` names the fields of which it says something.
    """
    found = {name: value for name, value in _found(vmlinux).items() if value is not None}
    return replace(rules, **found, read_off=frozenset(found))


def read_kinds(vmlinux: Btf, rules: Rules) -> Rules:
    """Return ``rules`` with the last kind that an enumerator names, of BTF that can be read in part.

    What is missing there may stand behind it: nothing else is concluded.
    """
    newest = _newest_kind(vmlinux)
    return (
        rules if newest is None else replace(rules, newest_kind=newest, read_off=frozenset({"newest_kind"}))
    )


def _found(vmlinux: Btf) -> dict[str, Any]:
    """Return fields of Rules; None where the BTF does not say."""
    described = _has_function(vmlinux, _ALWAYS)
    header = dict(members_of(vmlinux, "btf_header"))
    last = _last_kind(vmlinux, described=described)
    return {
        "header_bytes": _header_bytes(header),
        "layout": _layout(vmlinux, described=described),
        "last_kind": last,
        "newest_kind": _newest_kind(vmlinux),
        "name_limit": _name_limit(vmlinux),
        # Signed enums and ENUM64 came together (6089fb325cf7).
        "enum_kflag": last >= Kind.ENUM64 if last is not None else None,
        **_chains(vmlinux),
        # In a file of its own, called from btf.c: nothing short of link-time optimization inlines it.
        "relocates": _has_function(vmlinux, "btf_relocate") if described else None,
    }


def _has_function(vmlinux: Btf, name: str) -> bool:
    return index_of(vmlinux, name, Kind.FUNC) is not None


def _last_kind(vmlinux: Btf, *, described: bool) -> Kind | None:
    number = enumerator(vmlinux, _LAST_ENUMERATOR)
    if number is not None:
        # A kind that is not known here cannot be judged; Rules.newest_kind remembers that there is one.
        return Kind(min(number, max(Kind))) if number > 0 else None
    if not described:
        return None
    # Before there was an enumerator there was no TYPE_TAG, whose check is that of all references.
    return next((kind for name, kind in _KIND_CHECKS if _has_function(vmlinux, name)), Kind.DATASEC)


def _newest_kind(vmlinux: Btf) -> int | None:
    number = enumerator(vmlinux, _LAST_ENUMERATOR)
    return min(number, MAX_KIND) if number is not None and max(Kind) < number < 1 << 31 else None


def _header_bytes(members: dict[str, int]) -> int | None:
    if not members:
        return None
    return LAYOUT_HEADER_BYTES if _LAYOUT_MEMBER in members else HEADER_BYTES


def _layout(vmlinux: Btf, *, described: bool) -> Any:
    limit = enumerator(vmlinux, _WIDE_ENUMERATOR)
    if limit is not None:
        return WIDE if limit > CLASSIC.vlen_mask else CLASSIC
    return CLASSIC if described else None


def _chains(vmlinux: Btf) -> dict[str, bool]:
    """Return what holds of chains of modifiers; where either function was inlined, nothing says so."""
    if _has_function(vmlinux, "btf_check_type_tags"):
        return {"chains": True, "tag_order": True}
    if _has_function(vmlinux, "btf_check_modifier_chain_length"):
        return {"chains": True, "tag_order": False}
    return {}


def _name_limit(vmlinux: Btf) -> int | None:
    """Return KSYM_NAME_LEN: struct bpf_ksym has a name of so many bytes (include/linux/bpf.h)."""
    array = dict(members_of(vmlinux, "bpf_ksym")).get("name", 0)
    index = array - vmlinux.start_id
    records = vmlinux.records
    if not 0 <= index < records.complete or records.kind[index] != Kind.ARRAY:
        return None
    return int(records.words[records.at[index] + 5])
