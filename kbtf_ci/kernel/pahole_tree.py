# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A pahole built of its source, which is only read: a git tree as it stands, or an unpacked release."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kbtf_ci.errors import BuildError, InfrastructureError, UsageError, file_error
from kbtf_ci.infra.runner import SCRATCH, Command, Mount, Runner, run
from kbtf_ci.infra.tarball import extract
from kbtf_ci.kernel.diagnostics import Diagnostics
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.kept_pahole import PROGRAM, kept_program

_SOURCE: Final = "/pahole"
_LIBBPF: Final = "/libbpf"
_OUT: Final = "/out"
# Static libraries of its own make one file of it. CMake 4 refuses the policies that old releases ask for,
# unless it is told a version.
_SCRIPT: Final = """
set -e
source=$1 scratch=$2
mkdir "$scratch" "$scratch/pahole"
tar -C "$source" --exclude=.git -cf - . | tar -C "$scratch/pahole" -xf -
if [ -d "$6" ]; then
  rm -rf "$scratch/pahole/lib/bpf"
  mkdir -p "$scratch/pahole/lib/bpf"
  tar -C "$6" --exclude=.git -cf - . | tar -C "$scratch/pahole/lib/bpf" -xf -
fi
cmake -S "$scratch/pahole" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF \\
  -DCMAKE_POLICY_VERSION_MINIMUM=3.5 -DLIBBPF_EMBEDDED="$4"
cmake --build "$scratch/build" --target pahole --parallel "$5"
cp "$scratch/build/pahole" "$3/pahole"
version=$scratch/pahole/lib/bpf/src/libbpf_version.h
if [ -f "$version" ]; then
  sed -n 's/^#define LIBBPF_M[AI][JN]OR_VERSION //p' "$version" | paste -sd. > "$3/libbpf"
fi
"""
# What such a tree always has, and what tells that libbpf is checked out in it (a submodule since 1.13).
_MARKS: Final = ("CMakeLists.txt", "pahole.c", "btf_encoder.c")
_EMBEDDED: Final = "lib/bpf/src/btf.h"
_MARKS_OF_LIBBPF: Final = ("src/btf.c", "src/libbpf.map", "include/uapi/linux/btf.h")
# "CMake Error at CMakeLists.txt:57 (message):", the reason indented below it.
_CMAKE_ERROR: Final = re.compile(r"^CMake Error.*(?:\n\s*(\S.*))?", re.MULTILINE)
# What holds BTF that pahole wrote, or is linked once it has, from 5.2 to 7.2 (scripts/link-vmlinux.sh,
# scripts/Makefile.vmlinux); make links again what is not there.
_VMLINUX: Final = ("vmlinux", "vmlinux.unstripped")


@dataclass(frozen=True)
class PaholeTree:
    """A source of pahole; ``digest`` covers the names, contents and modes of all its files but git's own.

    ``libbpf`` is a source of libbpf that it is built with, in place of what it brings or the system's.
    ``origin`` is what the user named, where that was unpacked.
    """

    path: Path
    digest: str
    libbpf: Path | None = None
    origin: str = ""

    @property
    def embedded_libbpf(self) -> bool:
        """Whether it brings libbpf along; without that it is built against the system's, as Debian does."""
        return self.libbpf is not None or (self.path / _EMBEDDED).is_file()


@contextmanager
def opened_tree(path: Path, libbpf: Path | None, scratch: Path) -> Iterator[PaholeTree]:
    """Give the source in a folder or a tarball as read_tree() does; tarballs are unpacked below ``scratch``.

    Raises as that does, and for what cannot be unpacked.
    """
    with ExitStack() as stack:
        tree, beside = (
            stack.enter_context(_folder_of(one, option, scratch)) if one is not None else None
            for one, option in ((path, "--pahole-tree"), (libbpf, "--libbpf-tree"))
        )
        yield replace(read_tree(tree or path, beside), origin=str(path))


@contextmanager
def _folder_of(path: Path, option: str, scratch: Path) -> Iterator[Path]:
    if not path.is_file():
        yield path  # what is no folder either read_tree() tells
        return
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".pahole-source-", dir=scratch))
    except OSError as error:
        raise file_error(error, scratch, "cannot be written") from error
    try:
        yield extract(path, folder, f"{option} {path}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_tree(path: Path, libbpf: Path | None = None) -> PaholeTree:
    """Return the source in a folder, to be built with that of libbpf in another one.

    Raises UsageError when one is none, or a file of it cannot be read.
    """
    digest = _digest(path, "--pahole-tree", "pahole", _MARKS)
    if libbpf is not None:
        digest += _digest(libbpf, "--libbpf-tree", "libbpf", _MARKS_OF_LIBBPF)
    return PaholeTree(path, digest, libbpf)


def _digest(path: Path, option: str, what: str, marks: Sequence[str]) -> str:
    missing = next((name for name in marks if not (path / name).is_file()), "")
    if missing:
        raise UsageError(
            f"{option} {path}: not a source of {what} (no {missing})",
            hint=f"it takes the top folder of {what}'s source, a git tree or a release, or its tarball",
        )
    digest = hashlib.sha256()
    for file in sorted(_files(path)):
        try:
            content = os.fsencode(file.readlink()) if file.is_symlink() else file.read_bytes()
        except OSError as error:
            raise file_error(error, f"{option} {file}", "cannot be read") from error
        name = os.fsencode(file.relative_to(path))
        runs = not file.is_symlink() and os.access(file, os.X_OK)
        digest.update(b"%d %d %d\0%b\0%b" % (len(name), len(content), runs, name, content))
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if name != ".git"]
        yield from (Path(folder, name) for name in files if name != ".git")


def kept_pahole(tree: PaholeTree, image: str, cache: Path, jobs: int, runner: Callable[[], Runner]) -> Path:
    """Return the pahole of ``tree``, built once for its content and the image of the toolchain, in ``cache``.

    ``runner`` gives what runs commands in an image with pahole's build dependencies; it is asked for where
    there is something to build. Raises BuildError with the first error of pahole's build.
    """
    key = hashlib.sha256("\0".join((tree.digest, image, _SCRIPT)).encode()).hexdigest()[:16]
    return kept_program(cache / key, lambda staging: _build(tree, staging, jobs, runner()))


def _build(tree: PaholeTree, staging: Path, jobs: int, runner: Runner) -> None:
    embedded = "ON" if tree.embedded_libbpf else "OFF"
    libbpf = (Mount(tree.libbpf, _LIBBPF),) if tree.libbpf is not None else ()
    argv = ("sh", "-c", _SCRIPT, "sh", _SOURCE, SCRATCH, _OUT, embedded, str(jobs), _LIBBPF)
    mounts = (Mount(tree.path, _SOURCE), Mount(staging, _OUT, writable=True), *libbpf)
    done = run(runner, Command(argv, mounts, {"LC_ALL": "C.UTF-8"}, label="build pahole"))
    if done.status != 0 or not (staging / PROGRAM).is_file():
        raise _failed(tree, done.status, done.text)


def _failed(tree: PaholeTree, status: int, text: str) -> BuildError | InfrastructureError:
    diagnostics = Diagnostics(text.replace(f"{SCRATCH}/pahole/", ""))
    if fault := diagnostics.machine_fault(status, tree.path):
        return fault
    cmake = _CMAKE_ERROR.search(text)
    reason = (cmake[1] or cmake[0]).strip() if cmake else diagnostics.first_error
    return BuildError(f"pahole did not build: {reason}", hint=f"its source: {tree.origin or tree.path}")


def forget_btf_of_other(kbuild: Kbuild) -> None:
    """Let make link and encode again what another pahole wrote into the build directory.

    make does not see that a program behind one path is another one. Raises InfrastructureError when a file
    cannot be removed.
    """
    if kbuild.pahole is None:
        return
    mark = kbuild.build_dir / ".kbtf-ci" / "pahole.sha256"
    now = hashlib.sha256(kbuild.pahole.read_bytes()).hexdigest()
    try:
        if mark.is_file() and mark.read_text() == now:
            return
        modules = kbuild.modules if (kbuild.build_dir / "modules.order").is_file() else ()
        for name in (*modules, *_VMLINUX):
            (kbuild.build_dir / name).unlink(missing_ok=True)
        mark.parent.mkdir(exist_ok=True)
        mark.write_text(now)
    except OSError as error:
        raise InfrastructureError(f"{error.filename}: cannot be written: {error.strerror}") from error
