# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Typedefs that a module has though its base has them: whoever wrote it did not look for them there.

The kernel takes such BTF; it is only larger than it has to be, with all that refers to them. libbpf 1.7
writes it: since its commit 37027144 it hashes typedefs of base and module in two ways; 5b0f3729 mends that.
"""

from __future__ import annotations

import numpy as np

from kbtf_ci.btf.format.names import Ints
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind

_NAME_SHIFT = 32


def typedefs_of(btf: Btf) -> Ints:
    """Return its own typedefs, each as one number of its name's offset and the type that it stands for."""
    found = btf.records.of(Kind.TYPEDEF)
    return btf.records.name_off[found] << _NAME_SHIFT | btf.records.value[found]


def repeated_typedefs(btf: Btf, of_base: Ints) -> int:
    """Return how many of its typedefs its base has just so; ``of_base`` are typedefs_of() that.

    Split BTF names what its base names by the base's own string, and no two strings of BTF are the same.
    """
    return int(np.isin(typedefs_of(btf), of_base).sum())
