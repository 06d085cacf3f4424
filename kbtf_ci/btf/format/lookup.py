# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What vmlinux's BTF describes, by name: functions, members of structs, enumerators."""

from __future__ import annotations

from typing import Final

import numpy as np

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind

_ENTRY_WORDS: Final = {Kind.STRUCT: 3, Kind.ENUM: 2}


def index_of(vmlinux: Btf, name: str, kind: Kind) -> int | None:
    """Return the index of the first record of that name and kind, None where there is none."""
    offset = _offset(vmlinux, name)
    records = vmlinux.records
    of_kind = records.of(kind)
    hits = of_kind[records.name_off[of_kind] == offset]
    return int(hits[0]) if offset and len(hits) else None


def id_of(vmlinux: Btf, name: str, kind: Kind) -> int | None:
    """Return the id of the first type of that name and kind, None where there is none."""
    index = index_of(vmlinux, name, kind)
    return None if index is None else vmlinux.start_id + index


def members_of(vmlinux: Btf, name: str) -> tuple[tuple[str, int], ...]:
    """Return name and type of each member of the first struct of that name, empty where there is none."""
    index = index_of(vmlinux, name, Kind.STRUCT)
    if index is None:
        return ()
    records = vmlinux.records
    _, at = records.entries(np.array([index]), _ENTRY_WORDS[Kind.STRUCT])
    names, types = records.words[at].tolist(), records.words[at + 1].tolist()
    return tuple(zip(map(vmlinux.text, names), types, strict=True))


def enumerator(vmlinux: Btf, name: str) -> int | None:
    """Return the value of an enumerator, None where there is none of that name."""
    offset = _offset(vmlinux, name)
    records = vmlinux.records
    _, at = records.entries(records.of(Kind.ENUM), _ENTRY_WORDS[Kind.ENUM])
    hits = at[records.words[at] == offset]
    return int(records.words[hits[0] + 1]) if offset and len(hits) else None


def _offset(vmlinux: Btf, name: str) -> int:
    """Return where a name stands among the strings, each of which is there once; 0 where it does not."""
    return vmlinux.strings.data.find(f"\0{name}\0".encode()) + 1
