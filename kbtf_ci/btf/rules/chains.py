# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Chains of modifiers (kernel/bpf/btf.c, btf_check_type_tags() or btf_check_modifier_chain_length()).

Known of it: chains are looked at in the order of the ids that they start from; a chain ends where it leaves
the modifiers, or at one that was looked at before, which is every lower id; it may have 32 links; and a type
tag may not stand behind a link that is none.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final

import numpy as np

from kbtf_ci.btf.format.names import Bools, Ints
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import MODIFIERS, Kind
from kbtf_ci.btf.rules.rejection import Rejection, reject
from kbtf_ci.btf.rules.versions import Rules

RULES: Final = ("chain.length", "chain.tag_order", "chain.missing")
_LIMIT: Final = 32
_IS_MODIFIER: Final = np.isin(np.arange(256), MODIFIERS)


def check_chains(btf: Btf, rules: Rules) -> None:
    """Raise Rejection for a chain of more than 32 modifiers, one that leads nowhere, or tags out of order.

    Only ``btf``'s own types are starting points.
    """
    if not rules.chains:
        return
    starts = btf.start_id + btf.records.of(*MODIFIERS)
    if btf.start_id == 0:
        # Over a base without any type the id before the first is 2^32 - 1: that one counts as seen.
        starts = starts[1:]
    for start in starts[~_ends_at_once(btf, starts, rules)].tolist():
        _check_chain(_kinds(btf, start), rules)


def _ends_at_once(btf: Btf, starts: Ints, rules: Rules) -> Bools:
    """Return which chains end at their second link, and in order; nearly all do."""
    kinds = np.frombuffer(btf.kinds, np.uint8)
    second = btf.records.value[starts - btf.start_id]
    exists = second < len(kinds)
    kind = kinds[np.where(exists, second, 0)]
    in_order = (kind != Kind.TYPE_TAG) | (kinds[starts] == Kind.TYPE_TAG) | (not rules.tag_order)
    return exists & (~_IS_MODIFIER[kind] | (second < starts) & in_order)


def _check_chain(kinds: Iterator[int], rules: Rules) -> None:
    only_tags = True
    for number, kind in enumerate(kinds):
        if number == _LIMIT:
            raise reject("chain.length", "Max chain length or cycle detected", errno.ELOOP)
        is_tag = kind == Kind.TYPE_TAG
        if is_tag and not only_tags and rules.tag_order:
            raise reject("chain.tag_order", "Type tags don't precede modifiers")
        only_tags &= is_tag


def _kinds(btf: Btf, start: int) -> Iterator[int]:
    """Yield the kind of each link; raise Rejection, one without words, where a link leads to no type."""
    link = start
    while _IS_MODIFIER[btf.kinds[link]]:
        yield btf.kinds[link]
        if link < start:
            return
        link = int(btf.records.value[link - btf.start_id])
        if link >= btf.nr_types:
            raise Rejection("chain.missing", ())
