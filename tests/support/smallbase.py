# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The BTF of a vmlinux that no kernel build is needed for: some dozen types, all that edges() asks after.

And a module on top of it, to make mutants of.
"""

from tests.support import sketch as sk
from tests.support.sketch import Sketch
from tests.support.vmlinux import Vmlinux


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


def small_module(vmlinux: Vmlinux, name: str = "own") -> Sketch:
    """Return healthy split BTF with a type of most kinds, whose struct goes by ``name``."""
    sketch = Sketch(vmlinux.types, len(vmlinux.strings))
    own = sketch.add(
        sk.STRUCT, sketch.string(name), 8, sketch.string("a"), 1, 0, sketch.string("b"), 1, 32, vlen=2
    )
    pointer = sketch.add(sk.PTR, 0, sketch.add(sk.CONST, 0, own))
    proto = sketch.add(sk.FUNC_PROTO, 0, 0, sketch.string("p"), pointer, vlen=1)
    sketch.add(sk.FUNC, sketch.string("function"), proto)
    sketch.add(sk.ARRAY, 0, 0, own, 1, 3)
    variable = sketch.add(sk.VAR, sketch.string("variable"), own, 0)
    sketch.add(sk.DATASEC, sketch.string(".data"), 8, variable, 0, 8, vlen=1)
    return sketch
