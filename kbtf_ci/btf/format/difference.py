# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where two BTFs differ first, in words."""

from __future__ import annotations

import numpy as np

from kbtf_ci.btf.format.reader import Btf, BtfError
from kbtf_ci.btf.format.wire import Kind


def first_difference(expected: bytes, found: bytes) -> str:
    """Return where ``found`` first is another than ``expected``, and what lies there; "" where it is not."""
    if expected == found:
        return ""
    shared = min(len(expected), len(found))
    one, other = (np.frombuffer(data[:shared], np.uint8) for data in (expected, found))
    differing = np.flatnonzero(one != other)
    if not len(differing):
        return f"{len(found):,} bytes where there are to be {len(expected):,}, equal as far as they go"
    at = int(differing[0])
    count = f", the first of {len(differing):,} bytes" if len(differing) > 1 else ""
    return f"byte {at:,} is {found[at]:#04x} and not {expected[at]:#04x}{count}: {_place(expected, at)}"


def _place(data: bytes, at: int) -> str:
    """Return what of a whole BTF the byte at ``at`` belongs to."""
    try:
        btf = Btf.parse(data)
    except BtfError:
        return "of BTF that cannot be read"
    header = btf.header
    in_types = at - header.hdr_len - header.type_off
    in_strings = at - header.hdr_len - header.str_off
    if at < header.hdr_len:
        return "of its header"
    if 0 <= in_types < header.type_len:
        return _type(btf, in_types)
    if 0 <= in_strings < header.str_len:
        start = btf.strings.data.rfind(b"\0", 0, in_strings) + 1
        return f"of the string {btf.text(start)!r} at offset {start:,}"
    return "of neither types nor strings"


def _type(btf: Btf, at: int) -> str:
    records = btf.records
    index = int(np.searchsorted(4 * records.at, at, side="right")) - 1
    kind = Kind(int(records.kind[index])).name
    name = btf.text(int(records.name_off[index])) or "(anon)"
    return f"of type [{btf.start_id + index}] {kind} {name}"
