# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kfuncs in flagged sets of a module, or of vmlinux, each with what keeps programs from calling it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.usable.sets import KFUNCS, SECTION, KfuncSet, Symbols, id_words, told_sets
from kbtf_ci.model.kfunc_proof import RegisteredKfunc
from kbtf_ci.model.usable import Unusable
from kbtf_ci.objfile.elf import ElfImage

# One of bpf_test_modify_return_ids (net/bpf/test_run.c), declared as a set of kfuncs and registered for
# programs that alter what a function returns.
_NO_KFUNC: Final = "bpf_modify_return_test"


def registered_kfuncs(
    image: ElfImage, btf: Btf, owner: str, unusable: Iterable[Unusable]
) -> Iterator[RegisteredKfunc]:
    """Yield each of them once; of kernels before 6.9 none, since nothing in their files tells the sets."""
    # A finding on a set names several.
    rules = {name: one.rule for one in unusable for name in one.kfunc.split(", ")}
    known: set[int] = set()
    for one in _flagged_sets(image, btf):
        if any(kfunc.name == _NO_KFUNC for kfunc in one.kfuncs):
            continue
        for kfunc in one.kfuncs:
            if kfunc.type_id and kfunc.type_id not in known:
                known.add(kfunc.type_id)
                yield RegisteredKfunc(owner, kfunc.type_id, kfunc.name, rules.get(kfunc.name, ""))


def _flagged_sets(image: ElfImage, btf: Btf) -> Iterator[KfuncSet]:
    words = id_words(image.section(SECTION) or b"", image.byte_order)
    symbols = Symbols.of(image.symbols_in(SECTION))
    yield from (one for one in told_sets(words, btf, symbols) if one.flags & KFUNCS)
