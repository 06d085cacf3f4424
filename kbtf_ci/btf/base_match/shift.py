# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Against which base was this split BTF written? Told from the split BTF alone, as far as it can be told.

Own names must start where one of its own strings does, and references to its own types must lead to types of
the right kind. Few numbers of base types and base string bytes satisfy that; often just one pair does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from kbtf_ci.btf.format.fields import name_offsets, type_ids
from kbtf_ci.btf.format.names import Bools, Ints, Strings
from kbtf_ci.btf.format.records import Records
from kbtf_ci.btf.format.wire import ENTRY_BYTES, Kind

# Enough references of one sort to tell candidates apart before all are looked at.
_SAMPLE: Final = 64
# With fewer hits any number fits by chance.
_LEAST_HITS: Final = 3


@dataclass(frozen=True)
class Origin:
    """The base that split BTF was written against: number of type ids with void, bytes of strings.

    None where it cannot be told.
    """

    types: int | None
    string_bytes: int | None


def origin(records: Records, strings: Strings) -> Origin:
    """Return what the records and own strings of split BTF tell of its base."""
    return Origin(_types(records), _string_bytes(records, strings))


def _string_bytes(records: Records, strings: Strings) -> int | None:
    offsets = np.unique(records.words[name_offsets(records)])
    starts = np.concatenate([[0], strings.ends[:-1] + 1])[: len(strings.ends) - 1]
    if not len(starts) or not len(offsets):
        return None
    is_start = np.zeros(len(strings), np.bool_)
    is_start[starts] = True
    candidates = np.unique(offsets[-1] - starts)
    return _only(candidates[candidates > 0], [(offsets, is_start)])


def _types(records: Records) -> int | None:
    if not len(records):
        return None
    kinds = records.kind
    references = _sorts(records, kinds)
    largest = max((int(ids[-1]) for ids, _ in references if len(ids)), default=0)
    candidates = largest - np.arange(len(records))
    return _only(candidates[candidates > 0], references)


def _sorts(records: Records, kinds: Ints) -> list[tuple[Ints, Bools]]:
    """Return references by sort, each with the own types that one of that sort may lead to."""
    functions = records.value[records.of(Kind.FUNC)]
    sections = records.of(Kind.DATASEC)
    _, place = records.entries(sections, ENTRY_BYTES[Kind.DATASEC] // 4)
    variables = records.words[place]
    tags = records.value[records.of(Kind.DECL_TAG)]
    everything = records.words[type_ids(records)]
    data = np.setdiff1d(everything, np.concatenate([variables, tags]))
    return [
        (np.unique(functions), kinds == Kind.FUNC_PROTO),
        (np.unique(variables), kinds == Kind.VAR),
        (data, ~np.isin(kinds, (Kind.FUNC, Kind.VAR, Kind.DATASEC, Kind.DECL_TAG))),
    ]


def _only(candidates: Ints, sorts: list[tuple[Ints, Bools]]) -> int | None:
    """Return the candidate start at which all values from it on hit, if it is the only one with most hits."""
    hits = np.zeros(len(candidates), np.int64)
    for values, allowed in sorts:
        sample = values[-_SAMPLE:]
        fits, _ = _hits(candidates[:, np.newaxis], sample[np.newaxis, :], allowed)
        candidates, hits = candidates[fits], hits[fits]
        for i, candidate in enumerate(candidates.tolist()):
            fit, count = _hits(np.array([[candidate]]), values[np.newaxis, :], allowed)
            hits[i] = hits[i] + count[0] if fit[0] and hits[i] >= 0 else -1
    best = np.flatnonzero(hits == hits.max(initial=_LEAST_HITS))
    return int(candidates[best[0]]) if len(best) == 1 else None


def _hits(starts: Ints, values: Ints, allowed: Bools) -> tuple[Bools, Ints]:
    """Return, for each start, whether every value from it on hits an allowed place, and how many do."""
    at = values - starts
    own = at >= 0
    inside = own & (at < len(allowed))
    good = inside & allowed[np.where(inside, at, 0)] if len(allowed) else inside
    return (good == own).all(axis=1), good.sum(axis=1)
