# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""All cases, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Final

from kbtf_ci.btf.cases import (
    damaged,
    distilled,
    kfuncs,
    misdescribed,
    mismatch,
    module_struct,
    other_base,
    packaged,
    stripped,
    tree,
    vmlinux,
)
from kbtf_ci.btf.cases.case import Case, Healthy, NotThereError
from kbtf_ci.errors import UsageError

# What is told once a boot comes first, and what runs code of a module's own last.
CASES: Final = (
    *mismatch.CASES,
    *other_base.CASES,
    *damaged.CASES,
    *stripped.CASES,
    *packaged.CASES,
    *distilled.CASES,
    *module_struct.CASES,
    *kfuncs.CASES,
    *misdescribed.CASES,
    *tree.CASES,
    *vmlinux.CASES,
)
_BY_NAME: Final = {case.name: case for case in CASES}


def named(names: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases of these names, in the catalogue's order. Raises UsageError for one that is none."""
    wanted = set(names)
    for name in sorted(wanted - _BY_NAME.keys()):
        near = get_close_matches(name, _BY_NAME, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else "kbtf-ci repro list names them all"
        raise UsageError(f"no case is called {name}", hint=hint)
    return tuple(case for case in CASES if case.name in wanted)


def lacks(healthy: Healthy) -> tuple[str, ...]:
    """Return what of the module itself keeps cases from being made of it, () where it serves for all."""
    return tuple(_complaints(healthy))


def _complaints(healthy: Healthy) -> Iterator[str]:
    for case in (*other_base.CASES, *damaged.CASES):
        try:
            if case.make is not None:
                case.make(healthy)
        except NotThereError as error:
            yield f"{case.name}: {error}"
