# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Sets of kfuncs in ``.BTF_ids``, and what keeps BPF programs from calling them.

A set is struct btf_id_set8 (include/linux/btf_ids.h): a count, flags, and for each function its type's id and
flags, sorted by id. Since 6.9 (commit 6f3189f38a3e) a set of kfuncs has BTF_SET8_KFUNCS among its flags and
is refused without it. A file without symbols does not say where sets begin: that flag tells them, and ids
that are functions and ascend. What cannot be told is left out, and called neither sound nor unsound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.rules.versions import Version
from kbtf_ci.btf.usable.types import NoPrototypeError, Types
from kbtf_ci.model.usable import Unusable
from kbtf_ci.objfile.elf import ElfImage

_SECTION: Final = ".BTF_ids"
_KFUNCS: Final = 1  # BTF_SET8_KFUNCS, include/linux/btf_ids.h
_IMPLICIT_ARGS: Final = 1 << 16  # KF_IMPLICIT_ARGS, include/linux/btf.h, since 7.0
_KNOWN_FLAGS: Final = 1 << 20  # what is above this is no kfunc's flags
_MOST: Final = 1024  # functions of a set; the kernel takes 256 (BTF_KFUNC_SET_MAX_CNT)
# What resolve_btfids takes off the end of a prototype (tools/bpf/resolve_btfids/main.c).
_IMPLICIT: Final = ("bpf_prog_aux", "btf_struct_meta")
_SET_SYMBOL: Final = "__BTF_ID__set8__"
_ID_SYMBOL: Final = "__BTF_ID__func__"
# Established on kernels of Debian's: 11 such kfuncs in 7.2.12 (pahole 1.30), none in 7.2.13 (1.32) and 7.3.4.
_NEWER_PAHOLE: Final = (
    "programs that call it as its users declare it do not load; pahole gave it no bpf_kfunc tag, by which "
    "resolve_btfids knows it: take pahole 1.32 or later, or Linux 7.3, whose resolve_btfids gives the tags"
)
_FLAGGED_SINCE: Final = (6, 9)
_REGISTERS, _OTHER_SETS = b"\0register_btf_kfunc_id_set\0", b"\0register_btf_fmodret_id_set\0"
_FLAG: Final = "declare the set with BTF_KFUNCS_START and BTF_KFUNCS_END, which set the flag"
_RESOLVE: Final = (
    "resolve_btfids found no such function in the BTF when this was linked: its warnings of the build name it"
)


@dataclass(frozen=True)
class Kfunc:
    """One entry: its type's id, 0 where it was not resolved, its flags, and its name, "" for not known."""

    type_id: int
    flags: int
    name: str


@dataclass(frozen=True)
class KfuncSet:
    """One set: ``offset`` in ``.BTF_ids`` in bytes, its name, "" without symbols."""

    offset: int
    name: str
    flags: int
    kfuncs: tuple[Kfunc, ...]


def kfunc_sets(
    section: bytes, byte_order: str, btf: Btf, symbols: Mapping[int, str], *, flags: int = _KFUNCS
) -> Iterator[KfuncSet]:
    """Yield the sets of functions with these ``flags`` in a ``.BTF_ids`` section.

    ``symbols`` maps offsets there to names.
    """
    words = np.frombuffer(section[: len(section) // 4 * 4], f"{byte_order}u4").tolist()
    types = Types(btf)
    at = 0
    while at + 2 < len(words):
        found = _set_at(words, at, types, symbols) if words[at + 1] == flags else None
        if found is None:
            at += 1
        else:
            yield found
            at += 2 + 2 * len(found.kfuncs)


def _set_at(words: list[int], at: int, types: Types, symbols: Mapping[int, str]) -> KfuncSet | None:
    count, flags = words[at], words[at + 1]
    end = at + 2 + 2 * count
    if not 1 <= count <= _MOST or end > len(words):
        return None
    ids, of_each = words[at + 2 : end : 2], words[at + 3 : end : 2]
    known = [type_id for type_id in ids if type_id]
    ascending = known == sorted(set(known)) and ids[len(ids) - len(known) :] == known
    functions = all(types.kind(type_id) is Kind.FUNC for type_id in known)
    # Ids that are all 0 tell nothing by themselves: there it is the symbol that says it is a set.
    told = bool(known) or symbols.get(4 * at, "").startswith(_SET_SYMBOL)
    if not told or not ascending or not functions or max(of_each) >= _KNOWN_FLAGS:
        return None
    kfuncs = tuple(
        Kfunc(type_id, own, types.own.name(type_id) if type_id else _name(symbols.get(4 * place, "")))
        for place, type_id, own in zip(range(at + 2, end, 2), ids, of_each, strict=True)
    )
    name = symbols.get(4 * at, "")
    return KfuncSet(4 * at, name.removeprefix(_SET_SYMBOL), flags, kfuncs)


def _name(symbol: str) -> str:
    """Return the function that ``__BTF_ID__func__NAME__NUMBER`` stands for, "" for another symbol."""
    return symbol.removeprefix(_ID_SYMBOL).rpartition("__")[0] if symbol.startswith(_ID_SYMBOL) else ""


def unusable_in(image: ElfImage, btf: Btf, version: Version) -> tuple[Unusable, ...]:
    """Return the kfuncs of a module, or of vmlinux, that programs cannot call, as far as its file tells."""
    section = image.section(_SECTION)
    if not section:
        return ()
    symbols = image.symbols_in(_SECTION)
    sets = tuple(kfunc_sets(section, image.byte_order, btf, symbols))
    if not sets and version >= _FLAGGED_SINCE and _registers_kfuncs(image):
        others = kfunc_sets(section, image.byte_order, btf, symbols, flags=0)
        return tuple(_without_flag(one) for one in others)
    return tuple(unusable(btf, sets))


def _registers_kfuncs(image: ElfImage) -> bool:
    """Return whether a module calls for sets of kfuncs to be registered, and for no others of that form."""
    names = image.section(".strtab") or b""
    return _REGISTERS in names and _OTHER_SETS not in names


def _without_flag(one: KfuncSet) -> Unusable:
    names = ", ".join(kfunc.name for kfunc in one.kfuncs)
    return Unusable(
        names, one.name, "kfunc.flag",
        "the set lacks BTF_SET8_KFUNCS: the kernel refuses to register it (EINVAL, kernel/bpf/btf.c, "
        "register_btf_kfunc_id_set())",
        "6.9", _FLAG,
    )  # fmt: skip


def unusable(btf: Btf, sets: Iterable[KfuncSet]) -> Iterator[Unusable]:
    """Yield the kfuncs that programs cannot call, each function once."""
    types = Types(btf)
    implementations: set[str] | None = None
    told: set[int] = set()
    for one in sets:
        for kfunc in one.kfuncs:
            if not kfunc.type_id:
                yield _unresolved(one, kfunc)
            elif kfunc.flags & _IMPLICIT_ARGS and kfunc.type_id not in told:
                told.add(kfunc.type_id)
                if implementations is None:
                    implementations = set(_functions(btf))
                yield from _implicit(types, one, kfunc, implementations)


def _functions(btf: Btf) -> Iterator[str]:
    owner: Btf | None = btf
    while owner is not None:
        yield from (name for name in owner.own_names(Kind.FUNC) if name.endswith("_impl"))
        owner = owner.base


def _unresolved(one: KfuncSet, kfunc: Kfunc) -> Unusable:
    return Unusable(
        kfunc.name, one.name, "kfunc.id",
        "its id is 0: the kernel refuses the whole set (EINVAL, kernel/bpf/btf.c, btf_check_kfunc_protos())",
        "6.4", _RESOLVE,
    )  # fmt: skip


def _implicit(types: Types, one: KfuncSet, kfunc: Kfunc, implementations: set[str]) -> Iterator[Unusable]:
    """Yield what is wrong with a kfunc that has an argument which the verifier adds by itself.

    The verifier looks for a function of its name and ``_impl``, and takes the prototype without that argument
    for the kfunc's own (kernel/bpf/verifier.c, since 7.0).
    """
    try:
        parameters = types.prototype(kfunc.type_id).parameters
    except NoPrototypeError:
        parameters = ()
    last = _struct_pointed_to(types, parameters[-1]) if parameters else ""
    if last in _IMPLICIT:
        yield Unusable(
            kfunc.name, one.name, "kfunc.implicit",
            f"its prototype still has the argument struct {last} *, which the verifier adds by itself",
            "7.0", _NEWER_PAHOLE,
        )  # fmt: skip
    elif f"{kfunc.name}_impl" not in implementations:
        yield Unusable(
            kfunc.name, one.name, "kfunc.impl",
            f"there is no function {kfunc.name}_impl, which the verifier calls in its place",
            "7.0", _NEWER_PAHOLE,
        )  # fmt: skip


def _struct_pointed_to(types: Types, type_id: int) -> str:
    try:
        _, kind, pointed = types.plain(type_id)
        struct, of, _ = types.plain(pointed) if kind is Kind.PTR else (0, None, 0)
    except NoPrototypeError:
        return ""
    return types.own.name(struct) if of is Kind.STRUCT else ""
