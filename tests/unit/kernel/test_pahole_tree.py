# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A pahole of source: when it is built again, what its failure says, and what it leaves of another's BTF."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest

from kbtf_ci.errors import BuildError, InfrastructureError, UsageError
from kbtf_ci.infra.runner import Command
from kbtf_ci.infra.tarball import is_tarball
from kbtf_ci.kernel.pahole import Pahole, libbpf
from kbtf_ci.kernel.pahole_tree import forget_btf_of_other, kept_pahole, opened_tree, read_tree
from tests.support import faketree
from tests.support.local import LocalRunner

MARKS = ("CMakeLists.txt", "pahole.c", "btf_encoder.c")


@dataclass
class _Said:
    """A process that prints a text and ends."""

    pieces: list[bytes]
    status: int

    def read(self, timeout: float | None = None) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def wait(self, timeout: float | None = None) -> int:
        return self.status

    def port(self, number: int) -> int:
        raise NotImplementedError

    def kill(self) -> None:
        return


@dataclass
class Builder:
    """Stands for the image: it "builds" a pahole, or says what a real build said."""

    says: str = ""
    status: int = 0
    commands: list[Command] = field(default_factory=list)
    contained: ClassVar[bool] = True

    @contextmanager
    def start(self, command: Command) -> Iterator[_Said]:
        self.commands.append(command)
        if self.status == 0:
            out = next(mount for mount in command.mounts if mount.writable)
            (out.source / "pahole").write_text("built")
        yield _Said([self.says.encode()], self.status)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "dwarves"
    folder.mkdir()
    for name in MARKS:
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("form", ["tar", "gztar", "xztar"])
def test_a_tarball_is_as_good_as_the_folder_in_it(tree: Path, tmp_path: Path, form: str) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), form, tree.parent, tree.name))
    assert is_tarball(packed)
    scratch = tmp_path / "cache/pahole"
    with opened_tree(packed, None, scratch) as found:
        assert found.digest == read_tree(tree).digest
        assert (found.path / "pahole.c").is_file()
        assert found.origin == str(packed)
    assert list(scratch.iterdir()) == []
    with opened_tree(tree, None, scratch) as found:
        assert found.path == tree


def test_what_is_no_tarball_of_pahole_is_one_line(tree: Path, tmp_path: Path) -> None:
    for name, content, words in (
        ("empty.tar", b"", "--pahole-tree .*empty.tar: not a readable tar archive"),
        ("cut.tar.gz", b"\x1f\x8b\x08\0\0", "not a readable tar archive"),
        ("pahole", b"\x7fELF", "not a readable tar archive"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert not is_tarball(path)
        with pytest.raises(UsageError, match=words), opened_tree(path, None, tmp_path / "scratch"):
            pass
    other = tmp_path / "other.tar"
    with tarfile.open(other, "w") as archive:
        archive.add(tree / "pahole.c", "x/pahole.c")
    with pytest.raises(UsageError, match="not a source of pahole"), opened_tree(other, None, tmp_path / "s"):
        pass
    assert not list((tmp_path / "s").iterdir())


def built(tree: Path, builder: Builder, image: str = "image") -> Path:
    return kept_pahole(read_tree(tree), image, tree.parent / "cache", 2, lambda: builder)


def test_it_is_built_once_for_its_content(tree: Path) -> None:
    builder = Builder()
    first = built(tree, builder)
    (tree / ".git").mkdir()
    (tree / ".git/HEAD").write_text("git's own files do not count")
    assert built(tree, builder) == first
    assert (first.read_text(), len(builder.commands)) == ("built", 1)
    assert built(tree, builder, "another image") != first
    (tree / "pahole.c").write_text("changed, committed or not")
    assert built(tree, builder) != first
    assert len(builder.commands) == 3
    (tree / "pahole.c").write_text("pahole.c")
    assert (built(tree, builder), len(builder.commands)) == (first, 3)


@pytest.mark.parametrize("change", ["name", "mode", "link"])
def test_names_modes_and_links_count(tree: Path, change: str) -> None:
    before = read_tree(tree).digest
    if change == "name":
        (tree / "pahole.c").rename(tree / "a.c")
        (tree / "pahole.c").write_text("")
    elif change == "mode":
        (tree / "pahole.c").chmod(0o755)
    else:
        (tree / "link").symlink_to("absent")
    assert read_tree(tree).digest != before


def test_libbpf_is_its_own_where_it_is_there(tree: Path) -> None:
    builder = Builder()
    built(tree, builder)
    (tree / "lib/bpf/src").mkdir(parents=True)
    (tree / "lib/bpf/src/btf.h").touch()
    built(tree, builder)
    assert [command.argv[-3] for command in builder.commands] == ["OFF", "ON"]


def test_another_libbpf_counts_and_is_built_in(tree: Path, tmp_path: Path) -> None:
    libbpf = tmp_path / "libbpf"
    for name in ("src/btf.c", "src/libbpf.map", "include/uapi/linux/btf.h"):
        (libbpf / name).parent.mkdir(parents=True, exist_ok=True)
        (libbpf / name).write_text("1")
    first = read_tree(tree, libbpf)
    assert first.embedded_libbpf
    assert first.digest != read_tree(tree).digest
    (libbpf / "src/btf.c").write_text("2")
    assert read_tree(tree, libbpf).digest != first.digest
    (libbpf / "src/libbpf.map").unlink()
    with pytest.raises(UsageError, match=r"--libbpf-tree .*: not a source of libbpf \(no src/libbpf.map\)"):
        read_tree(tree, libbpf)


GCC = """\
[ 12%] Building C object CMakeFiles/dwarves.dir/btf_encoder.c.o
/tmp/kbtf-ci/pahole/btf_encoder.c:41:8: error: unknown type name 'statc'
   41 | statc int x;
/tmp/kbtf-ci/pahole/btf_encoder.c:50:1: error: something that follows
gmake[3]: *** [CMakeFiles/dwarves.dir/build.make:121: CMakeFiles/dwarves.dir/btf_encoder.c.o] Error 1
"""
CMAKE = """\
-- Checking availability of DWARF and ELF development libraries - found
CMake Error at CMakeLists.txt:74 (message):
  The submodules were not downloaded!  Please update submodules and try
  again.


-- Configuring incomplete, errors occurred!
"""


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (GCC, "btf_encoder.c:41:8: error: unknown type name 'statc'"),
        (CMAKE, "The submodules were not downloaded!  Please update submodules and try"),
        ("tar: write error", "tar: write error"),
    ],
)
def test_a_failed_build_is_one_line_and_leaves_nothing(tree: Path, says: str, reason: str) -> None:
    with pytest.raises(BuildError) as caught:
        built(tree, Builder(says, 2))
    assert caught.value.message == f"pahole did not build: {reason}"
    assert [path.name for path in (tree.parent / "cache").iterdir() if path.is_dir()] == []


def test_a_full_disk_is_not_paholes_fault(tree: Path) -> None:
    with pytest.raises(InfrastructureError, match="no space left on device"):
        built(tree, Builder("cp: error writing '/out/pahole': No space left on device", 1))


@pytest.mark.parametrize("missing", MARKS)
def test_what_is_no_source_of_pahole(tree: Path, missing: str) -> None:
    (tree / missing).unlink()
    with pytest.raises(UsageError, match=rf"--pahole-tree .*: not a source of pahole \(no {missing}\)"):
        read_tree(tree)


def test_what_another_pahole_wrote_is_made_again(tmp_path: Path) -> None:
    kbuild = replace(faketree.kbuild(tmp_path), pahole=tmp_path / "pahole")
    (tmp_path / "pahole").write_text("one")
    products = ["fs/alpha.ko", "vmlinux", "vmlinux.unstripped", "keep.o"]

    def make() -> None:
        (kbuild.build_dir / "modules.order").write_text("fs/alpha.o\n")
        for name in products:
            (kbuild.build_dir / name).parent.mkdir(exist_ok=True)
            (kbuild.build_dir / name).touch()

    def there() -> list[str]:
        return [name for name in products if (kbuild.build_dir / name).exists()]

    make()
    forget_btf_of_other(kbuild)
    assert there() == ["keep.o"]
    make()
    forget_btf_of_other(kbuild)
    assert there() == products
    (tmp_path / "pahole").write_text("two")
    forget_btf_of_other(kbuild)
    assert there() == ["keep.o"]


def test_the_libbpf_in_a_pahole_that_was_built_here_is_known(tmp_path: Path) -> None:
    program = tmp_path / "pahole"
    program.write_text("#!/bin/sh\n")  # which no library is linked to
    program.chmod(0o755)
    pahole = Pahole(str(program), (), program)
    assert libbpf(LocalRunner(), pahole) == "built in"
    (tmp_path / "libbpf").write_text("1.8\n")
    assert libbpf(LocalRunner(), pahole) == "1.8 built in"
