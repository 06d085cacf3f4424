# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The BTF of a vmlinux that no kernel build is needed for: some dozen types, all that edges() asks after."""

from tests.support import sketch as sk
from tests.support.sketch import Sketch


def small_base() -> Sketch:
    """Return one type of each kind that a distilled base may name, twins, bit fields, and a modifier."""
    sketch = Sketch(strings=bytearray(b"\0"))
    number = sketch.add(sk.INT, sketch.string("int"), 4, 1 << 24 | 32)
    for kind in (sk.FLOAT, sk.ENUM, sk.ENUM64, sk.FWD, sk.STRUCT, sk.UNION):
        sketch.add(kind, sketch.string(f"kind{kind}"), 0 if kind == sk.FWD else 8)
    sketch.add(sk.STRUCT, sketch.string("bits"), 4, sketch.string("low"), number, 3 << 24, vlen=1, kflag=1)
    for name in ("twin", "twin", "task_struct"):
        sketch.add(sk.STRUCT, sketch.string(name), 8)
    sketch.add(sk.CONST, 0, number)
    return sketch
