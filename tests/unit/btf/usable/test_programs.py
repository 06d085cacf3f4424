# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which types of programs are tried, from vmlinux's BTF."""

from __future__ import annotations

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.usable.programs import program_kinds
from tests.support import sketch as sk


def kernel(*functions: str) -> tuple[sk.Sketch, int]:
    sketch = sk.Sketch(strings=bytearray(b"\0"))
    proto = sketch.add(sk.FUNC_PROTO, 0, 0)
    for name in functions:
        sketch.add(sk.FUNC, sketch.string(name), proto)
    return sketch, proto


def test_what_is_attached_to_a_function_needs_it() -> None:
    sketch, proto = kernel("vfs_open")
    found = {kind.name: kind for kind in program_kinds(Btf.parse(sketch.bytes()))}
    assert found["fentry"].type_id == proto + 1
    assert found["fentry"].question == f"program fentry 26 24 0 {proto + 1}"
    assert found["syscall"].question == "program syscall 31 0 16 0"  # BPF_F_SLEEPABLE
    assert "lsm" not in found


def test_a_struct_that_programs_implement_has_one_for_each_function_in_it() -> None:
    sketch, proto = kernel()
    pointer = sketch.add(sk.PTR, 0, proto)
    constant = sketch.add(sk.CONST, 0, pointer)
    number = sketch.add(sk.INT, sketch.string("int"), 4, 32)
    # An anonymous member before them counts.
    members = (
        0,
        number,
        0,
        0,
        number,
        32,
        sketch.string("init"),
        pointer,
        64,
        sketch.string("exit"),
        constant,
        128,
    )
    ops = sketch.add(sk.STRUCT, sketch.string("my_ops"), 24, *members, vlen=4)
    sketch.add(sk.STRUCT, sketch.string("bpf_struct_ops_my_ops"), 32)
    sketch.add(sk.STRUCT, sketch.string("bpf_struct_ops_common"), 32)
    found = [kind for kind in program_kinds(Btf.parse(sketch.bytes())) if "/" in kind.name]
    assert [kind.question for kind in found] == [
        f"program struct_ops/my_ops.init 27 2 0 {ops}",
        f"program struct_ops/my_ops.exit 27 3 0 {ops}",
    ]
