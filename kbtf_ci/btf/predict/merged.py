# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The BTF of many modules held against all checks at once.

Nearly all modules of a tree are fine, and a step of numpy costs the same for ten types as for a thousand. So
their BTFs are laid end to end as if one module had brought them all. No check looks beyond a type, its name
and what it refers to: where the whole passes, each part does. Where it does not, each has to be looked at on
its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from kbtf_ci.btf.base_match.resolve import find_base_mismatch
from kbtf_ci.btf.base_match.targets import Targets
from kbtf_ci.btf.format.fields import name_offsets, type_ids
from kbtf_ci.btf.format.names import Ints, Strings
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.records import End, Records, walk
from kbtf_ci.btf.format.wire import MAX_NAME_OFFSET, MAX_TYPE
from kbtf_ci.btf.rules.chains import check_chains
from kbtf_ci.btf.rules.check import Kernel
from kbtf_ci.btf.rules.header import check_header
from kbtf_ci.btf.rules.metas import check_metas
from kbtf_ci.btf.rules.rejection import Rejection
from kbtf_ci.btf.rules.rows import CheckContext
from kbtf_ci.objfile.files import ModuleFile

# What a reference becomes that leads out of its own part: no type and no string is there.
_NOWHERE: Final = 0xFFFF_FFFF


def whole_btf(module: ModuleFile, kernel: Kernel) -> Btf | None:
    """Return a module's BTF on top of vmlinux's when header and records are whole, else None.

    None as well where the kernel would move it from a base of its own: what is checked then is another.
    """
    moves = module.base is not None and kernel.rules.relocates
    if not module.btf or moves or kernel.vmlinux is None or not len(kernel.vmlinux.records):
        return None
    try:
        header = check_header(module.btf, kernel.rules.header_bytes, kernel.order, has_base=True)
    except Rejection:
        return None
    records = walk(header.types(module.btf), kernel.order, kernel.rules.layout, kernel.rules.last_kind)
    return Btf.of(header, module.btf, records, kernel.vmlinux) if records.end is End.WHOLE else None


def are_fine(parts: Sequence[Btf], kernel: Kernel, targets: Targets) -> bool:
    """Return whether the kernel takes each of ``parts``, and each belongs to this vmlinux.

    ``parts`` come from whole_btf(), at least one; ``targets`` are vmlinux's. False where one may not be fine.
    """
    whole = merge(parts)
    if whole.nr_types > MAX_TYPE or whole.names.end > MAX_NAME_OFFSET:
        return False
    try:
        check_metas(CheckContext(whole.records, whole.names, whole.start_id, kernel.rules))
        check_chains(whole, kernel.rules)
    except Rejection:
        return False
    return find_base_mismatch(whole, targets) is None


def merge(parts: Sequence[Btf]) -> Btf:
    """Return one split BTF with the types and strings of all ``parts``, which have one base, in order."""
    first = parts[0]
    strings = Strings(b"".join(part.strings.data for part in parts))
    records = _end_to_end([part.records for part in parts])
    words = records.words
    of_word = np.repeat(np.arange(len(parts)), [len(part.records.words) for part in parts])
    ids, names = type_ids(records), name_offsets(records)
    types = np.array([len(part.records) for part in parts])
    words[ids] = _moved(words[ids], first.start_id, types, of_word[ids])
    lengths = np.array([len(part.strings) for part in parts])
    words[names] = _moved(words[names], len(first.names.base), lengths, of_word[names])
    header = replace(first.header, type_len=records.size, str_off=records.size, str_len=len(strings))
    # Put together anew: the columns of the records above are those from before the move.
    moved = Records(words, records.at, records.size, records.end, records.layout)
    return Btf(header, moved, strings, first.start_id, first.base)


def _end_to_end(several: Sequence[Records]) -> Records:
    sizes = np.array([len(records.words) for records in several])
    starts = np.cumsum(sizes) - sizes
    at = [records.at + start for records, start in zip(several, starts, strict=True)]
    words = np.concatenate([records.words for records in several])
    return Records(words, np.concatenate(at), 4 * len(words), End.WHOLE, several[0].layout)


def _moved(values: Ints, start: int, counts: Ints, part: Ints) -> Ints:
    """Return ids, or offsets of names, as they are in the whole.

    Those below ``start`` are the base's. Each part has ``counts`` of its own; ``part`` is where each value
    stands.
    """
    shift = np.cumsum(counts) - counts
    inside = values < start + counts[part]
    return np.where(values < start, values, np.where(inside, values + shift[part], _NOWHERE))
