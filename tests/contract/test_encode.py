# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules that are given BTF by the real pahole, in the image, alone and by its server."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kbtf_ci.infra.runner import Command, Mount, Runner, run
from kbtf_ci.kernel.pahole import flags_of_6_12
from kbtf_ci.model.encoded import Route
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.elf import ElfImage
from kbtf_ci.workflow.check import CheckOptions, check
from kbtf_ci.workflow.encode import EncodeOptions, EncodeResult, encode
from tests.support.schemas import valid
from tests.unit.workflow.test_sizes import Told

pytestmark = pytest.mark.engine

# A base, linked as a vmlinux is, and modules that share types with it and have some of their own.
_MAKE = """
set -e
cat > base.c <<'EOF'
struct list { struct list *next; }; struct shared { int a; struct list l; };
struct shared base; int main(void) { return base.a; } void _start(void) { main(); }
EOF
gcc -g -static -nostdlib -o vmlinux base.c
LLVM_OBJCOPY=objcopy pahole -J %s vmlinux
for n in 1 2 3 4 5; do
  cat > m$n.c <<EOF
struct list { struct list *next; }; struct shared { int a; struct list l; };
struct own$n { struct shared s; long b; } v$n;
static int f$n(struct own$n *o) { return o->s.a; } int g$n(void) { return f$n(&v$n); }
const char i[] __attribute__((section(".modinfo"))) = "name=m$n\\0vermagic=6.12.0 SMP";
EOF
  gcc -g -c -o m$n.ko m$n.c
done
"""
_FLAGS = shlex.join(flags_of_6_12(130))


@pytest.fixture(scope="module")
def made(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    mount = Mount(folder, "/bench", writable=True)
    done = run(runner, Command(("sh", "-c", _MAKE % _FLAGS), (mount,), workdir="/bench"))
    assert done.status == 0, done.text
    return folder


@pytest.fixture
def tree(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "tree")


def encoded(tree: Path, **changes: object) -> EncodeResult:
    options = EncodeOptions(tree / "vmlinux", (tree,), "trixie", jobs=2)
    done = encode(replace(options, **changes), Told())  # type: ignore[arg-type]
    valid("encode", done.document())
    return done


def test_a_server_writes_what_pahole_alone_does_and_check_takes_it(runner: Runner, tree: Path) -> None:
    alone = shutil.copytree(tree, tree.parent / "alone")
    detached = tree.parent / "detached"
    first = encoded(tree, detached=detached)
    done = encoded(tree)
    assert (done.exit_code, {one.route for one in done.modules}) == (0, {Route.SERVED})
    assert {one.route for one in first.modules} == {Route.SERVED}
    other = encoded(alone, server=False)
    assert {one.route for one in other.modules} == {Route.ALONE}
    files = sorted(path.name for path in tree.glob("*.ko"))
    assert len(files) == 5
    assert [(tree / file).read_bytes() for file in files] == [(alone / file).read_bytes() for file in files]
    for file in files:
        btf = ElfImage((tree / file).read_bytes()).section(".BTF")
        assert btf == (detached / file).with_suffix(".btf").read_bytes()
    # As raw BTF: of modules the loader asks for more than these have.
    checked = check(CheckOptions(tuple(detached.iterdir()), tree / "vmlinux", version="6.12"), Told())
    assert [one.outcome for one in checked.predictions] == [Outcome.VERIFIED] * 5
    assert checked.exit_code == 0


def test_a_distilled_base_is_written_by_a_server_too(tree: Path) -> None:
    done = encoded(tree, distilled=True)
    assert {one.route for one in done.modules} == {Route.SERVED}
    assert all(one.base_bytes for one in done.modules)
    assert all(ElfImage(path.read_bytes()).section(".BTF.base") for path in tree.glob("*.ko"))


def test_a_module_that_pahole_refuses_has_its_words_and_name(tree: Path) -> None:
    bad = tree / "m3.ko"
    data = bad.read_bytes()
    start = data.index(ElfImage(data).section(".debug_info") or b"")
    bad.write_bytes(data[:start] + bytes(40) + data[start + 40 :])
    before = bad.read_bytes()
    done = encoded(tree)
    (failed,) = (one for one in done.modules if one.fault)
    assert failed.file == str(bad)
    assert "/work/" not in failed.fault
    assert bad.read_bytes() == before
    assert done.exit_code == 1


def test_what_no_server_would_do_is_told(tree: Path, tmp_path: Path) -> None:
    script = tmp_path / "pahole"
    script.write_text('#!/bin/sh\nexec pahole "$@"\n')
    script.chmod(0o755)
    told = Told()
    done = encode(EncodeOptions(tree / "vmlinux", (tree / "m1.ko",), "trixie", pahole=script), told)
    assert [one.route for one in done.modules] == [Route.FALLBACK]
    assert done.exit_code == 0
    assert told.warnings == [
        "1 modules were written by pahole itself, not by a server: the server did not take the call"
    ]
    assert ElfImage((tree / "m1.ko").read_bytes()).section(".BTF")


_KBUILDS = """
tar -xJf /usr/src/linux-source-6.12.tar.xz -C /tmp --strip-components=1 --occurrence=1 \
    linux-source-6.12/scripts/Makefile.btf linux-source-6.12/scripts/Makefile.compiler
cat > /tmp/Makefile <<'EOF'
CONFIG_PAHOLE_HAS_LANG_EXCLUDE := $(if $(filter 1,$(shell expr $(CONFIG_PAHOLE_VERSION) '>=' 124)),y)
test-le = $(shell test $(1) -le $(2) && echo y)
test-ge = $(shell test $(1) -ge $(2) && echo y)
include /tmp/scripts/Makefile.btf
all: ; @echo '$(CONFIG_PAHOLE_VERSION) $(PAHOLE_FLAGS) $(MODULE_PAHOLE_FLAGS)'
EOF
for version in 119 120 121 122 123 124 125 126 127 128 130 131; do
  make -s -C /tmp CONFIG_PAHOLE_VERSION=$version KBUILD_BUILD_TIMESTAMP=1 $1
done
"""


@pytest.mark.full
@pytest.mark.parametrize("extmod", ["", "KBUILD_EXTMOD=x"])
def test_flags_are_kbuilds_own(runner: Runner, extmod: str) -> None:
    done = run(runner, Command(("sh", "-c", _KBUILDS, "sh", extmod)))
    assert done.status == 0, done.text
    lines = [line.split() for line in done.text.splitlines()]
    assert len(lines) == 12
    for version, *flags in lines:
        distilled = bool(extmod) and int(version) >= 126
        ours = flags_of_6_12(int(version), distilled=distilled)
        assert sorted(flags) == sorted(ours), version
