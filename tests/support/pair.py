# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A vmlinux and split BTF on top of it, small and healthy, for tests of what is said of the two together."""

from tests.support import sketch as sk
from tests.support.sketch import Sketch

INT = 1
NAMES = ("alpha", "be", "gamma_ray", "d", "epsilon", "zeta99")


def vmlinux(order: str = "<") -> Sketch:
    """[1] int, struct module as images.module() has it, and so many types that a distilled base is small."""
    one = Sketch(strings=bytearray(b"\0"), order=order)
    number = one.add(sk.INT, one.string("int"), 4, 0x0100_0020)
    pointer = one.add(sk.PTR, 0, 0)
    init, leave = one.string("init"), one.string("exit")
    one.add(
        sk.STRUCT, one.string("module"), 0x500, init, pointer, 0x138 * 8, leave, pointer, 0x4B0 * 8, vlen=2
    )
    for i in range(200):
        one.add(sk.STRUCT, one.string(f"kernel_struct_{i}"), 4, 0, number, 0, vlen=1)
    return one


def split(base: Sketch) -> Sketch:
    """Return a module's BTF that tells where it was written: functions, each with a prototype of its own."""
    one = Sketch(base.end_id, len(base.strings), order=base.order)
    for number, name in enumerate(NAMES):
        for _ in range(number % 3):
            one.add(sk.PTR, 0, INT)
        one.add(sk.FUNC, one.string(name), one.add(sk.FUNC_PROTO))
    return one
