# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A kernel's modules read once: listed, predicted, kept and carried, in this process and in others."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path

import pytest

from kbtf_ci.btf.predict import sweep
from kbtf_ci.btf.predict.sweep import KernelSpec
from kbtf_ci.btf.rules.versions import Rules
from kbtf_ci.model.kernel import BuiltKernel, KernelFacts
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.carrier import make_carrier
from kbtf_ci.objfile.elf import read_module
from kbtf_ci.objfile.files import read_kernel_file
from kbtf_ci.workflow.intake import keep_functions, take_in
from tests.support import images, pair
from tests.support import sketch as sk
from tests.support.cpio import read_archives

VERMAGIC = b"vermagic=6.12.107+deb13-amd64 SMP \0intree=Y\0"


class Tree:
    """A kernel, and a folder of modules that is filled file by file."""

    def __init__(self, folder: Path) -> None:
        self.base = pair.vmlinux()
        self.image = folder / "vmlinux"
        self.image.write_bytes(images.vmlinux(self.base.bytes()))
        self.modules = folder / "modules"

    def put(self, file: str, data: bytes) -> bytes:
        path = self.modules / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return data

    def module(self, name: str, function: str) -> bytes:
        split = pair.split(self.base)
        split.add(sk.FUNC, split.string(function), split.add(sk.FUNC_PROTO), vlen=1)
        modinfo = VERMAGIC + b"name=%s\0" % name.encode()
        return images.module(btf=split.bytes(), base=None, modinfo=modinfo)

    @property
    def kernel(self) -> BuiltKernel:
        skipped = {"kernel/none.ko": "Skipping BTF generation"}
        return BuiltKernel(KernelFacts("6.12"), self.image, self.modules, skipped_btf=skipped)

    @property
    def spec(self) -> KernelSpec:
        return KernelSpec(read_kernel_file(self.image), Rules.for_version((6, 12)), {})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize("processes", [False, True])
def test_one_reading_gives_everything_in_any_process(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: bool
) -> None:
    if processes:
        monkeypatch.setattr(sweep, "_WORTH_PROCESSES", 1)
    plain = tree.put("kernel/a.ko", tree.module("a", "a_init"))
    packed = tree.module("b", "b_open")
    tree.put("kernel/b.ko.xz", lzma.compress(packed))
    tree.put("kernel/none.ko", images.module(btf=None, base=None, modinfo=VERMAGIC + b"name=none\0"))
    tree.put("kernel/cut.ko", plain[:-70])
    tree.put("updates/a.ko", tree.module("a", "a_better"))
    carriers = tmp_path / "carriers"
    carriers.mkdir()
    taken = take_in(tree.spec, tree.kernel, carriers)
    assert [module.stored for module in taken.modules] == [
        "kernel/b.ko.xz", "kernel/cut.ko", "kernel/none.ko", "updates/a.ko",
    ]  # fmt: skip
    assert taken.modules[0] == read_module(tree.modules / "kernel/b.ko.xz", "kernel/b.ko.xz")
    assert "reach outside the file" in taken.modules[1].fault
    assert taken.modules[2].no_btf_reason == "Skipping BTF generation"
    outcomes = [one.outcome for one in taken.predictions]
    assert outcomes == [Outcome.VERIFIED, Outcome.UNREADABLE, Outcome.NO_BTF, Outcome.VERIFIED]
    (loser,) = taken.overridden
    assert (loser.module.file, loser.by.file) == ("kernel/a.ko", "updates/a.ko")
    assert taken.functions["kernel/b.ko.xz"] == (*pair.NAMES, "b_open")
    assert taken.functions["updates/a.ko"][-1] == "a_better"
    (archive,) = taken.archives
    files = read_archives(archive.path.read_bytes())
    assert files["lib/modules/kernel/b.ko.xz"][1] == make_carrier(packed)
    assert set(archive.stored) == {"kernel/a.ko", "kernel/b.ko.xz", "kernel/none.ko", "updates/a.ko"}


def test_what_cannot_be_made_a_carrier_is_carried_whole(tree: Tree, tmp_path: Path) -> None:
    data = tree.put("kernel/x.ko", images.build([images.Part(".modinfo", b"name=x\0")]))
    (archive,) = take_in(tree.spec, tree.kernel, tmp_path).archives
    assert read_archives(archive.path.read_bytes())["lib/modules/kernel/x.ko"][1] == data


def test_without_a_folder_there_are_no_carriers(tree: Tree) -> None:
    tree.put("kernel/a.ko", tree.module("a", "a_init"))
    assert take_in(tree.spec, tree.kernel, None).archives == ()


def test_how_many_of_the_modules_are_read_is_told(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_BATCH", 2)
    for name in "abc":
        tree.put(f"kernel/{name}.ko", tree.module(name, f"{name}_init"))
    told: list[tuple[int, int]] = []
    take_in(tree.spec, tree.kernel, None, on_done=lambda *now: told.append(now))
    assert told == [(2, 3), (3, 3)]


def test_raw_btf_among_modules_is_none_that_a_kernel_loads(tree: Tree) -> None:
    tree.put("kernel/a.ko", pair.split(tree.base).bytes())
    (module,) = take_in(tree.spec, tree.kernel, None).modules
    assert "not a module" in module.fault


def test_the_functions_of_a_run_are_kept_as_compressed_json(tmp_path: Path) -> None:
    keep_functions(tmp_path / "functions.json.gz", {"kernel/a.ko": ("a_init", "a_exit")})
    values = json.loads(gzip.decompress((tmp_path / "functions.json.gz").read_bytes()))
    assert values == {
        "schema": "kbtf-ci/functions/1", "modules": {"kernel/a.ko": ["a_init", "a_exit"]}
    }  # fmt: skip
