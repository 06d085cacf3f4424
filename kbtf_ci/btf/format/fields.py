# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where in the records type ids and names stand (tools/lib/bpf/btf_iter.c, btf_field_iter_init())."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from kbtf_ci.btf.format.names import Ints
from kbtf_ci.btf.format.records import Records
from kbtf_ci.btf.format.wire import ENTRY_BYTES, REFERENCES, Kind

# Of each entry, the word that is a type id, and the word that is a name.
_ENTRY_TYPE: Final = {Kind.STRUCT: 1, Kind.UNION: 1, Kind.FUNC_PROTO: 1, Kind.DATASEC: 0}
_ENTRY_NAME: Final = {Kind.STRUCT: 0, Kind.UNION: 0, Kind.FUNC_PROTO: 0, Kind.ENUM: 0, Kind.ENUM64: 0}
# FWD's third word is a flag by definition, but the kernel's iterator rewrites it as an id.
_THIRD_WORD: Final = (*REFERENCES, Kind.FWD)


def type_ids(records: Records) -> Ints:
    """Return the index of every word that is a type id, ascending."""
    places = [records.at[records.of(*_THIRD_WORD)] + 2]
    arrays = records.at[records.of(Kind.ARRAY)]
    places += [arrays + 3, arrays + 4]
    return _sorted([*places, *_of_entries(records, _ENTRY_TYPE)])


def name_offsets(records: Records) -> Ints:
    """Return the index of every word that is a string offset, ascending."""
    return _sorted([records.at[: records.complete], *_of_entries(records, _ENTRY_NAME)])


def _of_entries(records: Records, word: dict[Kind, int]) -> Iterator[Ints]:
    for kind, number in word.items():
        _, place = records.entries(records.of(kind), ENTRY_BYTES[kind] // 4)
        yield place + number


def _sorted(places: list[Ints]) -> Ints:
    # Each of the arrays is sorted already, which a stable sort makes use of.
    return np.sort(np.concatenate(places), kind="stable")
