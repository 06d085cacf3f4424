# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules as a guest carries them: unpacked, without debug information, and made once."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from kbtf_ci.errors import UsageError
from kbtf_ci.kernel.strip import lean_modules
from kbtf_ci.model.module import Module
from kbtf_ci.objfile.elf import ElfImage, read_module
from tests.support.local import LocalRunner


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A plain and a packed object with debug information, and a packed one without."""
    tree = tmp_path / "modules"
    tree.mkdir()
    source = tmp_path / "x.c"
    source.write_text("int x(void) { return 1; }\n")
    for name, flags in (("plain", ["-g"]), ("debug", ["-g"]), ("bare", [])):
        subprocess.run(["gcc", "-c", *flags, "-o", tree / f"{name}.ko", source], check=True)
    for name in ("debug", "bare"):
        (tree / f"{name}.ko.gz").write_bytes(gzip.compress((tree / f"{name}.ko").read_bytes()))
        (tree / f"{name}.ko").unlink()
    return tree


def entries(tree: Path) -> list[Module]:
    return [read_module(path, path.name) for path in sorted(tree.iterdir())]


def lean(runner: LocalRunner, tree: Path) -> Path:
    target = tree.parent / "lean"
    lean_modules(runner, tree, target, entries(tree), 2)
    return target


def test_all_are_plain_and_without_debug_information_and_nothing_else_is_left(tree: Path) -> None:
    target = lean(LocalRunner(), tree)
    kept = [path for path in target.iterdir() if path.name != ".todo"]
    assert sorted(path.name for path in kept) == ["bare.ko", "debug.ko", "plain.ko"]
    assert all(ElfImage(path.read_bytes()).find(".debug_info") is None for path in kept)
    assert (target / "bare.ko").read_bytes() == gzip.decompress((tree / "bare.ko.gz").read_bytes())
    assert sorted(path.name for path in tree.parent.iterdir()) == ["lean", "modules", "x.c"]


def test_what_is_there_already_is_not_made_again(tree: Path) -> None:
    target = lean(LocalRunner(), tree)
    before = {path.name: path.stat().st_ino for path in target.glob("*.ko")}
    again = LocalRunner()
    lean(again, tree)
    assert again.started == []
    assert {path.name: path.stat().st_ino for path in target.glob("*.ko")} == before
    changed = tree / "debug.ko.gz"
    os.utime(changed, ns=(1, 1))
    lean(again, tree)
    assert len(again.started) == 1


def test_one_that_does_not_unpack_is_named(tree: Path) -> None:
    module = Module("cut", "cut.ko", 0, "", packed=".gz")
    (tree / "cut.ko.gz").write_bytes((tree / "bare.ko.gz").read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"cut\.ko\.gz: cannot be unpacked"):
        lean_modules(LocalRunner(), tree, tree.parent / "lean", [module], 2)
