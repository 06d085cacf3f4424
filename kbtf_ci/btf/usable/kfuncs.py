# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kfuncs of a module, or of vmlinux, that no BPF program can call, as far as its file tells.

Flags that the kernel does not know are no finding: it does not look at them, and takes the kfunc for one
without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.destructors import unusable_destructors
from kbtf_ci.btf.usable.implicit import Implicit
from kbtf_ci.btf.usable.prototypes import acquires_nothing, is_called_by_none
from kbtf_ci.btf.usable.registration import FLAGGED_SINCE, Registration, considered
from kbtf_ci.btf.usable.sets import SECTION, KfuncSet, Symbols, id_words, shaped_sets, told_sets
from kbtf_ci.btf.usable.types import NoPrototypeError, Types
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.version import Version
from kbtf_ci.objfile.elf import ElfImage

# Ends of strings: a linker lets a symbol's name be the end of a longer one.
_REGISTERS, _OTHER_SETS = b"register_btf_kfunc_id_set\0", b"register_btf_fmodret_id_set\0"
_DESTRUCTORS: Final = b"register_btf_id_dtor_kfuncs\0"


def unusable_in(image: ElfImage, btf: Btf, version: Version) -> tuple[Unusable, ...]:
    """Return the kfuncs of a module, or of vmlinux, that programs cannot call, as far as its file tells."""
    section = image.section(SECTION)
    if not section:
        return ()
    words = id_words(section, image.byte_order)
    symbols = Symbols.of(image.symbols_in(SECTION))
    names = image.section(".strtab") or b""
    flag_asked = version >= FLAGGED_SINCE and _registers_kfuncs(names)
    sets = _sets(words, btf, symbols, flag_asked=flag_asked)
    found = tuple(unusable(btf, sets, version, flag_asked=flag_asked))
    if _DESTRUCTORS not in names:
        return found
    listed = ((name, words[at // 4]) for at, name in symbols.outside(sets) if 0 <= at < 4 * len(words))
    return (*found, *unusable_destructors(Types(btf), listed))


def unusable(
    btf: Btf, sets: Iterable[KfuncSet], version: Version, *, flag_asked: bool = False
) -> Iterator[Unusable]:
    """Yield what is wrong with each set, and once with each function that is of several.

    ``flag_asked``: a set without BTF_SET8_KFUNCS is one of kfuncs that lacks it.
    """
    types = Types(btf)
    registration, implicit = Registration(types, version, flag_asked), Implicit(types)
    told: set[int] = set()
    for one in sets:
        yield from registration.faults(one)
        yield from _uncallable(types, implicit, one, told)


def _uncallable(types: Types, implicit: Implicit, one: KfuncSet, told: set[int]) -> Iterator[Unusable]:
    """Yield what keeps programs from calling a set's functions though the set is registered."""
    for kfunc in considered(one):
        if kfunc.type_id in told or types.kind(kfunc.type_id) is not Kind.FUNC:
            continue
        try:
            prototype = types.prototype(kfunc.type_id)
        except NoPrototypeError:
            continue
        found = [*implicit.faults(kfunc, one.name, prototype)]
        rules = (is_called_by_none, acquires_nothing)
        found += [fault for rule in rules if (fault := rule(types, kfunc, one.name, prototype))][:1]
        if found:
            told.add(kfunc.type_id)
        yield from found


def _sets(words: list[int], btf: Btf, symbols: Symbols, *, flag_asked: bool) -> tuple[KfuncSet, ...]:
    found = tuple(told_sets(words, btf, symbols))
    return found if found or symbols.there or not flag_asked else tuple(shaped_sets(words, btf, flags=0))


def _registers_kfuncs(names: bytes) -> bool:
    """Return whether a module calls for sets of kfuncs to be registered, and for no others of that form."""
    return _REGISTERS in names and _OTHER_SETS not in names
