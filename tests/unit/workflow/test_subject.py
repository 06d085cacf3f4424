# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which module cases are made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.objfile.files import KernelFile
from kbtf_ci.workflow.subject import find_subject
from tests.support import sketch as sk
from tests.support.elf import make_module
from tests.support.healthy import module, split, vmlinux


class Bench:
    """A kernel's modules in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kernel = BuiltKernel(KernelFacts("6.12.3"), folder / "bzImage", folder)
        self.file = KernelFile(folder / "bzImage", vmlinux().bytes(), "6.12.3", "", None, "vmlinux", "")

    def add(self, name: str, btf: bytes, **others: bytes) -> bytes:
        data = module(name, btf, **others)
        (self.folder / f"{name}.ko").write_bytes(data)
        return data

    def poor(self) -> bytes:
        base = vmlinux()
        one = sk.Sketch(base.end_id, len(base.strings))
        one.add(sk.FUNC, one.string("f"), one.add(sk.FUNC_PROTO))
        return one.bytes()


def test_the_smallest_module_that_serves_for_all_cases_is_taken(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.add("poor", bench.poor())
    data = bench.add("rich", split(vmlinux()).bytes())
    bench.add("richer", split(vmlinux()).bytes(), **{".text": bytes(999)})
    found = find_subject(bench.kernel, bench.file)
    assert (found.name, found.file) == ("rich", data)
    assert found.find("poor") == (tmp_path / "poor.ko").read_bytes()
    assert found.find("nobody") is None


def test_where_none_serves_for_all_it_is_one_that_serves_for_most(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.add("poor", bench.poor())
    assert find_subject(bench.kernel, bench.file).name == "poor"


def test_what_cannot_be_read_or_has_no_split_btf_is_passed_over(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (tmp_path / "cut.ko").write_bytes(b"\x7fELF")
    (tmp_path / "bare.ko").write_bytes(make_module("bare", btf=None))
    (tmp_path / "odd.ko").write_bytes(make_module("odd"))
    bench.add("external", bench.poor(), **{".BTF.base": b"base"})
    with pytest.raises(UsageError, match="no module with split BTF of its own"):
        find_subject(bench.kernel, bench.file)
