# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The kfuncs of a file, each once, with the rule that it breaks."""

from __future__ import annotations

import struct

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.usable.registered import registered_kfuncs
from kbtf_ci.model.kfunc_proof import RegisteredKfunc
from kbtf_ci.model.usable import Unusable
from kbtf_ci.objfile.elf import ElfImage
from tests.support import sketch as sk
from tests.support.elf import make_elf


def test_a_kfunc_of_several_sets_is_there_once_and_an_unresolved_one_not_at_all() -> None:
    sketch = sk.Sketch(strings=bytearray(b"\0"))
    proto = sketch.add(sk.FUNC_PROTO, 0, 0)
    one, two = (sketch.add(sk.FUNC, sketch.string(name), proto) for name in ("one", "two"))
    words = (3, 1, 0, 0, one, 0, two, 0, 1, 1, two, 0)
    image = ElfImage(make_elf([(".BTF_ids", struct.pack(f"<{len(words)}I", *words))]))
    broken = Unusable("three, two", "", "kfunc.impl", "", "7.0", "")
    assert list(registered_kfuncs(image, Btf.parse(sketch.bytes()), "m", [broken])) == [
        RegisteredKfunc("m", one, "one"),
        RegisteredKfunc("m", two, "two", "kfunc.impl"),
    ]


def test_functions_for_programs_that_modify_a_return_are_no_kfuncs() -> None:
    sketch = sk.Sketch(strings=bytearray(b"\0"))
    proto = sketch.add(sk.FUNC_PROTO, 0, 0)
    names = ("bpf_fentry_test1", "bpf_modify_return_test", "bpf_kfunc")
    one, two, three = (sketch.add(sk.FUNC, sketch.string(name), proto) for name in names)
    words = (2, 1, one, 0, two, 0, 1, 1, three, 0)
    image = ElfImage(make_elf([(".BTF_ids", struct.pack(f"<{len(words)}I", *words))]))
    found = registered_kfuncs(image, Btf.parse(sketch.bytes()), "vmlinux", [])
    assert [one.name for one in found] == ["bpf_kfunc"]


def test_a_file_without_sets_has_none() -> None:
    sketch = sk.Sketch(strings=bytearray(b"\0"))
    image = ElfImage(make_elf([(".text", b"")]))
    assert list(registered_kfuncs(image, Btf.parse(sketch.bytes()), "m", [])) == []
