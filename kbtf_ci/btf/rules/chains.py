# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Chains of modifiers (kernel/bpf/btf.c, btf_check_type_tags() or btf_check_modifier_chain_length())."""

from __future__ import annotations

import errno
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import MODIFIERS, Kind
from kbtf_ci.btf.rules.rejection import Rejection, reject
from kbtf_ci.btf.rules.versions import Rules

RULES: Final = ("chain.length", "chain.tag_order", "chain.missing")
_LIMIT: Final = 32
_IS_MODIFIER: Final = bytes(kind in MODIFIERS for kind in range(256))


def check_chains(btf: Btf, rules: Rules) -> None:
    """Raise Rejection for a chain of more than 32 modifiers, one that leads nowhere, or tags out of order.

    Only ``btf``'s own types are starting points; what was passed before is not followed again.
    """
    if not rules.chains:
        return
    # Compared with u32: over a base without any type, whose ids end before 0, it starts as 2^32 - 1.
    passed = btf.start_id - 1 & 0xFFFF_FFFF
    value = btf.records.value.tolist()
    for i in (btf.start_id + btf.records.of(*MODIFIERS)).tolist():
        _follow(btf, value, i, passed, rules)
        passed = i


def _follow(btf: Btf, value: list[int], start: int, passed: int, rules: Rules) -> None:
    kinds = btf.kinds
    current, left, in_tags = start, _LIMIT, kinds[start] == Kind.TYPE_TAG
    while _IS_MODIFIER[kinds[current]]:
        if left == 0:
            raise reject("chain.length", "Max chain length or cycle detected", errno.ELOOP)
        left -= 1
        if kinds[current] != Kind.TYPE_TAG:
            in_tags = False
        elif not in_tags and rules.tag_order:
            raise reject("chain.tag_order", "Type tags don't precede modifiers")
        if current <= passed:
            return
        current = value[current - btf.start_id]
        if current >= len(kinds):
            raise Rejection("chain.missing", ())
