# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the kernel does with a set of kfuncs when it is registered.

Read off kernel/bpf/btf.c of 6.1, 6.12, 7.2 and 7.3: register_btf_kfunc_id_set(), btf_check_kfunc_protos() and
btf_populate_kfunc_set(). 6.1 takes a set as it is: a kfunc that is wrong is one that no program can call.
Since 6.4 it refuses the whole set for it, as it does since 6.9 for a set without BTF_SET8_KFUNCS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.iterators import iterator_fault
from kbtf_ci.btf.usable.sets import KFUNCS, Kfunc, KfuncSet
from kbtf_ci.btf.usable.types import NoPrototypeError, Types
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.version import Version

FLAGGED_SINCE: Final = (6, 9)
_CHECKED_SINCE: Final = (6, 4)
_COPIED_SINCE: Final = (6, 11)  # a module's set too is counted, copied and sorted: its ids may be relocated
_NAMES_SINCE: Final = (7, 2)  # btf_check_kfunc_name(): in 7.2.12, not in 7.1.13 (both Debian's)
_MOST: Final = 256  # BTF_KFUNC_SET_MAX_CNT
_FLAG: Final = "declare the set with BTF_KFUNCS_START and BTF_KFUNCS_END, which set the flag"
_RESOLVE: Final = (
    "resolve_btfids found no such function in the BTF when this was linked: its warnings of the build name it"
)
_AGAIN: Final = "the BTF was made again, or put in, behind resolve_btfids: link again, or run it again, last"
_SPLIT: Final = "register it in several sets, each for other types of programs"
_RENAME: Final = "rename it: a kfunc's name is that of no function of vmlinux"
_ITERATOR: Final = "bpf_iter_num_new(), _next() and _destroy() of kernel/bpf/bpf_iter.c are the pattern"
_REFUSED: Final = "the kernel refuses the whole set (EINVAL, kernel/bpf/btf.c, btf_check_kfunc_protos())"


@dataclass(frozen=True)
class Registration:
    """Judges sets by one kernel's rules; ``flag_asked``: sets without BTF_SET8_KFUNCS are of kfuncs too."""

    types: Types
    version: Version
    flag_asked: bool = False

    def faults(self, one: KfuncSet) -> Iterator[Unusable]:
        """Yield what is wrong with a set, and with its functions as far as registration asks."""
        if self.flag_asked and not one.flags & KFUNCS:
            yield _without_flag(one)
            return
        yield from self._of_set(one)
        for kfunc in considered(one):
            yield from self._of_kfunc(one, kfunc)

    def _of_set(self, one: KfuncSet) -> Iterator[Unusable]:
        if one.count != len(one.kfuncs):
            yield _miscounted(one)
        if len(considered(one)) > _MOST and (self.version >= _COPIED_SINCE or not self._is_module):
            yield _too_many(one)
        if self._is_module and self.version < _COPIED_SINCE and (lost := _not_found(considered(one))):
            yield _unsorted(one, lost)
        if foreign := _foreign(one):
            yield _stale(one, foreign)

    def _of_kfunc(self, one: KfuncSet, kfunc: Kfunc) -> Iterator[Unusable]:
        if not kfunc.type_id:
            yield self._refused(one, kfunc, "kfunc.id", "its id is 0", _RESOLVE)
        elif fault := _no_function(self.types, kfunc):
            yield self._refused(one, kfunc, "kfunc.func", fault, _AGAIN)
        elif fault := iterator_fault(self.types, kfunc, self.types.prototype(kfunc.type_id)):
            yield Unusable(kfunc.name, one.name, "kfunc.iter", f"{fault}: {_REFUSED}", "6.4", _ITERATOR)
        elif self.version >= _NAMES_SINCE and _is_function_of(self.types.own.base, kfunc.name):
            why = f"vmlinux has a function of this name: {_REFUSED}"
            yield Unusable(kfunc.name, one.name, "kfunc.name", why, "7.2", _RENAME)

    @property
    def _is_module(self) -> bool:
        return self.types.own.base is not None

    def _refused(self, one: KfuncSet, kfunc: Kfunc, rule: str, fault: str, way_out: str) -> Unusable:
        # Only kernels of 6.9 and later, or that have their rules, have flagged sets.
        checked = self.version >= _CHECKED_SINCE or bool(one.flags & KFUNCS)
        effect = _REFUSED if checked else "no program can call it"
        return Unusable(
            kfunc.name, one.name, rule, f"{fault}: {effect}", "6.4" if checked else "6.1", way_out
        )


def considered(one: KfuncSet) -> tuple[Kfunc, ...]:
    """Return the functions of a set that the kernel looks at: as many as the set's first word says."""
    return one.kfuncs[: one.count]


def _names(kfuncs: tuple[Kfunc, ...]) -> str:
    return ", ".join(kfunc.name for kfunc in kfuncs if kfunc.name)


def _without_flag(one: KfuncSet) -> Unusable:
    return Unusable(
        _names(one.kfuncs), one.name, "kfunc.flag",
        "the set lacks BTF_SET8_KFUNCS: the kernel refuses to register it (EINVAL, kernel/bpf/btf.c, "
        "register_btf_kfunc_id_set())",
        "6.9", _FLAG,
    )  # fmt: skip


def _miscounted(one: KfuncSet) -> Unusable:
    declared = len(one.kfuncs)
    effect = (
        "the kernel reads on behind its end"
        if one.count > declared
        else "no program can call those behind the count"
    )
    return Unusable(
        _names(one.kfuncs[one.count :]), one.name, "kfunc.count",
        f"the set says it has {one.count} functions and has room for {declared}: {effect}",
        "6.1", "resolve_btfids, which counts them, did not run, or did not end: link again",
    )  # fmt: skip


def _too_many(one: KfuncSet) -> Unusable:
    return Unusable(
        "", one.name, "kfunc.many",
        f"the set has {one.count} functions, the kernel takes {_MOST} (E2BIG, kernel/bpf/btf.c, "
        "btf_populate_kfunc_set()) and none of these",
        "6.1", _SPLIT,
    )  # fmt: skip


def _unsorted(one: KfuncSet, lost: tuple[Kfunc, ...]) -> Unusable:
    return Unusable(
        _names(lost), one.name, "kfunc.order",
        "the ids of its set do not ascend, and the kernel, which before 6.11 does not sort a module's set, "
        "does not find it there (kernel/bpf/btf.c, btf_kfunc_id_set_contains())",
        "6.1", "resolve_btfids sorts them: link again, for one byte order throughout",
    )  # fmt: skip


def _stale(one: KfuncSet, foreign: tuple[str, ...]) -> Unusable:
    missing = ", ".join(name for name in one.declared if name not in {kfunc.name for kfunc in one.kfuncs})
    return Unusable(
        missing, one.name, "kfunc.stale",
        f"the set declares it, and has the id of {', '.join(foreign)} in its place: programs that call it do "
        "not load (EACCES)",
        "6.1", _AGAIN,
    )  # fmt: skip


def _foreign(one: KfuncSet) -> tuple[str, ...]:
    """Return the functions of a set that it does not declare, where it is known what all of them are."""
    if not one.declared or len(one.declared) != len(one.kfuncs):
        return ()
    return tuple(kfunc.name for kfunc in one.kfuncs if kfunc.name and kfunc.name not in one.declared)


def _not_found(kfuncs: tuple[Kfunc, ...]) -> tuple[Kfunc, ...]:
    ids = [kfunc.type_id for kfunc in kfuncs]
    if ids == sorted(ids):
        return ()
    return tuple(kfunc for kfunc in kfuncs if kfunc.type_id and not _finds(ids, kfunc.type_id))


def _finds(ids: list[int], wanted: int) -> bool:
    """Whether halving, as lib/bsearch.c does it, comes upon an id; the middle of an even number is behind."""
    first, number = 0, len(ids)
    while number:
        middle = first + number // 2
        if ids[middle] == wanted:
            return True
        if ids[middle] < wanted:
            first, number = middle + 1, number - 1
        number //= 2
    return False


def _no_function(types: Types, kfunc: Kfunc) -> str:
    kind = types.kind(kfunc.type_id)
    if kind is not Kind.FUNC:
        what = f"of kind {kind.name}" if kind else "of no type"
        return f"its id {kfunc.type_id} is {what}, not of a function"
    if not types.own.name(kfunc.type_id):
        return f"the function of its id {kfunc.type_id} has no name"
    try:
        types.prototype(kfunc.type_id)
    except NoPrototypeError:
        return "it has no prototype"
    return ""


def _is_function_of(base: Btf | None, name: str) -> bool:
    """Whether a module's base has a function of that name; its strings are looked through first, fast."""
    if base is None or f"{name}\0".encode() not in base.strings.data:
        return False
    return any(True for _ in base.find(name, Kind.FUNC))
