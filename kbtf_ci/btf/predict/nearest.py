# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""For a distilled type that finds no counterpart in vmlinux: what came nearest."""

from __future__ import annotations

from kbtf_ci.btf.format.reader import Btf, BtfError
from kbtf_ci.btf.format.wire import COMPOSITES, Kind

_LIKE = (Kind.INT, Kind.FLOAT, Kind.ENUM, Kind.ENUM64, Kind.FWD, *COMPOSITES)
_SHOWN = 3


def nearest(distilled: bytes, vmlinux: Btf | None) -> str:
    """Return how up to three types of the distilled base differ in vmlinux; "" when none does."""
    if vmlinux is None:
        return ""
    try:
        base = Btf.parse(distilled)
    except BtfError:
        return ""
    differences = []
    for index in range(len(base.records)):
        difference = _difference(base, index, vmlinux)
        if difference:
            differences.append(difference)
    more = f" ({len(differences) - _SHOWN} more)" if len(differences) > _SHOWN else ""
    return f"{'; '.join(differences[:_SHOWN])}{more}." if differences else ""


def _difference(base: Btf, index: int, vmlinux: Btf) -> str:
    kind, size = int(base.records.kind[index]), int(base.records.value[index])
    name = base.text(int(base.records.name_off[index]))
    sizes = [
        (int(vmlinux.records.kind[i]), int(vmlinux.records.value[i]))
        for i in (type_id - vmlinux.start_id for type_id in vmlinux.find(name, *_LIKE))
    ]
    word = f"{Kind(kind).name} '{name}'"
    if not sizes:
        return f"{word} is not in vmlinux"
    if len(sizes) > 1:
        return f"{word} is in vmlinux {len(sizes)} times"
    if kind != Kind.FWD and sizes[0][1] != size:
        return f"{word} has {size} bytes in the module's base, {sizes[0][1]} in vmlinux"
    return ""
