# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.model.regeneration import ModuleState
from kbtf_ci.objfile.inputs import Scanner, module_state
from tests.support.elf import make_elf

SECTIONS = {".debug_info": b"info", ".rela.debug_info": b"r", ".symtab": b"s", ".strtab": b"t", ".BTF": b"b"}


def state(folder: Path, **changed: bytes) -> ModuleState:
    path = folder / "m.ko"
    named = {f".{name.replace('__', '.')}": data for name, data in changed.items()}
    path.write_bytes(make_elf({**SECTIONS, **named}.items()))
    return module_state(path)


@pytest.mark.parametrize("name", ["debug_info", "rela__debug_info", "symtab", "strtab", "debug_loclists"])
def test_whatever_pahole_reads_is_an_input(tmp_path: Path, name: str) -> None:
    assert state(tmp_path, **{name: b"other"}).inputs != state(tmp_path).inputs


@pytest.mark.parametrize("name", ["BTF", "BTF_ids", "BTF__base", "text", "modinfo"])
def test_what_it_writes_and_what_it_does_not_read_is_none(tmp_path: Path, name: str) -> None:
    assert state(tmp_path, **{name: b"other"}).inputs == state(tmp_path).inputs


def test_what_resolve_btfids_wrote_is_told_apart(tmp_path: Path) -> None:
    assert state(tmp_path, BTF_ids=b"one").ids != state(tmp_path, BTF_ids=b"two").ids
    assert state(tmp_path).ids == ""


def test_the_btf_is_told_apart_and_an_empty_one_is_none(tmp_path: Path) -> None:
    assert state(tmp_path).btf != state(tmp_path, BTF=b"other").btf
    assert state(tmp_path, BTF=b"").btf == ""


def test_a_tree_is_read_again_where_files_changed_and_a_missing_module_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "vmlinux").write_bytes(b"\x9f\xeb\x01\0 the base, and no more")
    first = state(tmp_path)
    scanner = Scanner()
    before = scanner.scan(tmp_path, ["m.ko", "gone.ko"])
    assert before.modules == {"m.ko": first}
    second = state(tmp_path, debug_info=b"INFO")
    os.utime(tmp_path / "vmlinux", (1, 1))
    after = scanner.scan(tmp_path, ["m.ko"])
    assert after.base == before.base
    assert after.modules == {"m.ko": second} != before.modules
    (tmp_path / "vmlinux").write_bytes(b"\x9f\xeb\x01\0 the case, and no more")
    assert scanner.scan(tmp_path, []).base != before.base


def test_a_module_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.ko").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"m\.ko"):
        module_state(tmp_path / "m.ko")
