# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A vmlinux and a module that has one of everything that cases of the catalogue alter, small and healthy."""

from __future__ import annotations

import struct

from kbtf_ci.btf.cases.case import Healthy
from kbtf_ci.btf.format.reader import Btf
from tests.support import pair
from tests.support import sketch as sk
from tests.support.elf import make_elf
from tests.support.sketch import Sketch

THIS = ".gnu.linkonce.this_module"
STRUCT_BYTES = 0x500
VERMAGIC = b"vermagic=6.12.107+deb13-amd64 SMP \0license=GPL\0"


def vmlinux(order: str = "<") -> Sketch:
    """Return pair's, with what a distilled base names, two structs alike, and a DATASEC of two variables."""
    one = pair.vmlinux(order)
    low, high = one.string("low"), one.string("high")
    task = one.add(sk.STRUCT, one.string("task_struct"), 64, low, 1, 0, high, 1, 32, vlen=2)
    twins = [one.add(sk.STRUCT, one.string("twin"), 16) for _ in range(2)]
    first, second = (one.add(sk.VAR, one.string(name), 1, 1) for name in ("one_var", "other_var"))
    one.add(sk.DATASEC, one.string(".data..percpu"), 64, first, 0, 4, second, 8, 4, vlen=2)
    one.add(sk.FUNC_PROTO, 0, 1, low, 1, 0, 0, vlen=2)  # variadic
    for pointed in (twins[0], task):
        one.add(sk.PTR, 0, pointed)
    return one


def congestion(base: Sketch) -> Sketch:
    """Return BTF of functions, of which one has a prototype of its own."""
    one = Sketch(base.end_id, len(base.strings), order=base.order)
    task = base.end_id - 1
    sock = one.string("sk")
    common = one.add(sk.FUNC_PROTO, 0, 1, sock, task, vlen=1)
    one.add(sk.FUNC, one.string("bbr_main"), common)
    one.add(sk.FUNC, one.string("bbr_init"), common)
    one.add(sk.FUNC, one.string("dctcp_ssthresh"), common)
    own = one.add(sk.FUNC_PROTO, 0, 0, sock, task, one.string("bw"), 1, vlen=2)
    one.add(sk.FUNC, one.string("bbr_set_pacing_rate"), own)
    return one


def split(base: Sketch) -> Sketch:
    """Return a module's BTF: its first name is a struct's, its const refers to that, its volatile to int."""
    one = Sketch(base.end_id, len(base.strings), order=base.order)
    name, low, high = one.string("own_struct"), one.string("first"), one.string("second")
    struct = one.add(sk.STRUCT, name, 16, low, 1, 0, high, 1, 64, vlen=2)
    const = one.add(sk.CONST, 0, struct)
    pointer = one.add(sk.PTR, 0, const)
    one.add(sk.ENUM, one.string("own_enum"), 4, one.string("OWN_ZERO"), 0, vlen=1)
    proto = one.add(sk.FUNC_PROTO, 0, 1, one.string("argument"), pointer, vlen=1)
    one.add(sk.FUNC, one.string("own_function"), proto)
    one.add(sk.VOLATILE, 0, 1)
    return one


def module(name: str, btf: bytes, **others: bytes) -> bytes:
    """Return a module of 64 bits with BTF and what the loader asks for; ``others`` are more sections."""
    this = (bytes(24) + name.encode()).ljust(STRUCT_BYTES, b"\0")
    info = b"name=" + name.encode() + b"\0" + VERMAGIC
    sections = {".modinfo": info, THIS: this, ".BTF": btf, **others}
    return make_elf(list(sections.items()))


def healthy(order: str = "<") -> Healthy:
    """Return the module over that vmlinux, and two beside it with a set of two kfuncs.

    ``order`` is that of their BTF; the ELF files are little-endian.
    """
    base = vmlinux(order)
    btf, data = split(base).bytes(), base.bytes()
    functions = congestion(base)
    kfuncs = [base.end_id + number for number in (1, 3)]
    ids = struct.pack(f"{order}6I", 2, 1, kfuncs[0], 0, kfuncs[1], 0)
    sections = {".BTF_ids": ids, ".rela.gnu.linkonce.this_module": b"\1" * 48}
    names = ("tcp_bbr", "tcp_dctcp")
    others = {name: module(name, functions.bytes(), **sections) for name in names}
    return Healthy("m", module("m", btf), btf, Btf.parse(data), data, others.get)
