# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The reader against bpftool: the same types, line by line, for vmlinux and every module of a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.container.engine import Engine
from kbtf_ci.container.image import Toolchain
from kbtf_ci.infra.runner import Command, Mount, run
from kbtf_ci.objfile.files import read_kernel_file, read_module_file
from tests.support import rawdump
from tests.support import sketch as sk

# Raw BTF as the base: bpftool takes a vmlinux too, but looks through all of its sections for every module.
DUMP = """
set -e
bpftool btf dump file /dump/vmlinux.btf format raw > /dump/vmlinux
bpftool btf dump file /dump/every.btf format raw > /dump/every
cd /modules
find . -name '*.ko' | while read -r module; do
    mkdir -p "/dump/modules/${module%/*}"
    bpftool -B /dump/vmlinux.btf btf dump file "$module" format raw > "/dump/modules/$module"
done
"""


@pytest.fixture(scope="module")
def vmlinux(smoke_run: Path) -> Btf:
    return Btf.parse(read_kernel_file(smoke_run / "kernel/vmlinux").btf)


@pytest.fixture(scope="module")
def dumped(
    smoke_run: Path, engine: Engine, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder of what bpftool prints: ``vmlinux``, and ``modules`` laid out as in the run directory."""
    folder = tmp_path_factory.mktemp("dump")
    (folder / "vmlinux.btf").write_bytes(read_kernel_file(smoke_run / "kernel/vmlinux").btf)
    (folder / "every.btf").write_bytes(every_kind())
    mounts = (Mount(smoke_run / "kernel/modules", "/modules"), Mount(folder, "/dump", writable=True))
    done = run(engine.runner(toolchain.image), Command(("sh", "-c", DUMP), mounts))
    assert done.status == 0, done.text
    yield folder
    shutil.rmtree(folder)


def every_kind() -> bytes:
    """A BTF with a type of each kind, and whatever bpftool tells apart within one."""
    sketch = sk.Sketch()
    sketch.string("")
    number = sketch.add(sk.INT, sketch.string("int"), 4, 1 << 24 | 32)
    for encoding in (0, 2, 4):
        sketch.add(sk.INT, sketch.string(f"int{encoding}"), 1, encoding << 24 | 8)
    sketch.add(sk.FLOAT, sketch.string("float"), 4)
    tag = sketch.add(sk.TYPE_TAG, sketch.string("user"), number)
    sketch.add(sk.PTR, 0, tag)
    for kind in (sk.VOLATILE, sk.CONST, sk.RESTRICT):
        sketch.add(kind, 0, number)
    sketch.add(sk.TYPEDEF, sketch.string("alias"), number)
    sketch.add(sk.ARRAY, 0, 0, number, number, 7)
    a, b = sketch.string("a"), sketch.string("b")
    sketch.add(sk.STRUCT, sketch.string("plain"), 8, a, number, 0, b, number, 32, vlen=2)
    sketch.add(sk.STRUCT, 0, 8, a, number, 3 << 24 | 5, 0, number, 32, vlen=2, kflag=1)
    sketch.add(sk.UNION, sketch.string("either"), 4, a, number, 0, vlen=1)
    for kflag in (0, 1):
        sketch.add(sk.FWD, sketch.string(f"later{kflag}"), 0, kflag=kflag)
        sketch.add(sk.ENUM, 0, 4, a, 0xFFFF_FFFF, b, 1, vlen=2, kflag=kflag)
        sketch.add(sk.ENUM64, 0, 8, a, 0xFFFF_FFFF, 0xFFFF_FFFE, b, 1, 2, vlen=2, kflag=kflag)
    proto = sketch.add(sk.FUNC_PROTO, 0, number, a, number, 0, 0, vlen=2)
    for linkage in (0, 1, 2):
        function = sketch.add(sk.FUNC, sketch.string(f"function{linkage}"), proto, vlen=linkage)
        variable = sketch.add(sk.VAR, sketch.string(f"variable{linkage}"), number, linkage)
    sketch.add(sk.DATASEC, sketch.string(".data"), 8, variable, 0, 4, variable - 2, 4, 4, vlen=2)
    for component in (-1, 0):
        sketch.add(sk.DECL_TAG, sketch.string(f"tag{component}"), function, component)
    return sketch.bytes()


def first_difference(btf: Btf, dump: Path) -> tuple[int, str, str] | None:
    """Return the first line, from 1, in which reader and bpftool differ, and what each says there."""
    with dump.open(encoding="latin-1", newline="\n") as stream:
        theirs = (line.removesuffix("\n") for line in stream)
        pairs = zip_longest(rawdump.lines(btf), theirs, fillvalue="(no such line)")
        found = ((number, *pair) for number, pair in enumerate(pairs, 1) if pair[0] != pair[1])
        return next(found, None)


def test_vmlinux_reads_as_bpftool_reads_it(vmlinux: Btf, dumped: Path) -> None:
    assert first_difference(vmlinux, dumped / "vmlinux") is None


def test_every_module_reads_as_bpftool_reads_it(vmlinux: Btf, dumped: Path, smoke_run: Path) -> None:
    tree = smoke_run / "kernel/modules"
    paths = sorted(tree.rglob("*.ko"))
    different = {}
    for path in paths:
        btf = read_module_file(path).btf
        assert btf is not None
        different[path.stem] = first_difference(
            Btf.parse(btf, vmlinux), dumped / "modules" / path.relative_to(tree)
        )
    assert len(different) >= 50
    assert {name: found for name, found in different.items() if found is not None} == {}


def test_every_kind_reads_as_bpftool_reads_it(dumped: Path) -> None:
    """Also what no kernel of gcc's has: type tags, signed ENUM64, externs."""
    btf = Btf.parse(every_kind())
    assert set(btf.kinds) == set(Kind)
    assert first_difference(btf, dumped / "every") is None
