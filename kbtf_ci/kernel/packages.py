# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Kernels in archives, distributions' packages or tarballs, unpacked once into a cache.

libarchive reads them where this machine has it (objfile/archive). Sources, and where it has not Debian
packages and tarballs, are unpacked by the tools of the toolchain image: nothing that an archive holds reaches
beyond the one folder that its container can write to.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError, KbtfError, UsageError, file_error
from kbtf_ci.infra.locks import exclusive, keep_in_use
from kbtf_ci.infra.record import Counter, uncounted
from kbtf_ci.infra.runner import Command, Completed, Mount, Runner, run
from kbtf_ci.kernel.source import file_sha256
from kbtf_ci.objfile.archive.kernel_files import WANTED, KernelFiles
from kbtf_ci.objfile.archive.kinds import Kind, kind_of
from kbtf_ci.objfile.archive.reader import WAY_OUT, has_libarchive

# What libarchive lays out is of this version, and of WANTED.
_LAYOUT: Final = f"1 {WANTED}"
_STAGING: Final = ".unpack-"

# A kernel's packages hold documentation and, some, sources besides. Links and special files go as well: the
# host is to read nothing through a name that an archive made. Sources keep their links, which only containers
# follow, and get an empty vmlinux each, for another to be mounted over. bash: for pipefail. A NUL, which no
# tool prints, says that one more is unpacked, and the status which archive it was that is not.
_ONE_MORE: Final = "\0"
_FIRST_FAILED: Final = 100
_SCRIPT: Final = r"""
set -o pipefail
sources=$1
out=$2
shift 2
take() {
    if [ "$sources" ]; then
        tar -C "$out" -x --no-same-owner --no-same-permissions --exclude=usr/share "$@"
    else
        tar -C "$out" -x --no-same-owner --no-same-permissions \
            --exclude=usr/share --exclude=usr/src --exclude=usr/lib/debug "$@"
    fi
}
number=0
for archive; do
    case $archive in
    *.deb) dpkg-deb --fsys-tarfile "$archive" | take ;;
    *) take -f "$archive" ;;
    esac || exit $((100 + number))
    number=$((number + 1))
    printf '\0'
done
if [ "$sources" ]; then
    find "$out" ! -type f ! -type d ! -type l -delete
    for folder in "$out"/usr/src/*/; do
        [ -h "${folder%/}" ] || [ -e "$folder/vmlinux" ] || touch "$folder/vmlinux"
    done
else
    find "$out" ! -type f ! -type d -delete
fi
chmod -R u+rwX,go+rX "$out"
"""


def is_package(path: Path) -> bool:
    """Return whether the file begins as a Debian package does. Raises UsageError when it cannot be read."""
    return kind_of(path) is Kind.DEB


def unpack_sources(
    archives: Sequence[Path], cache: Path, runner: Runner, on_done: Counter = uncounted
) -> Path:
    """Return, as unpack(), a folder with what is in packages of headers, its links as they are.

    No file below it may be opened by this process: where a link leads is the archive's choice.
    """
    return unpack(archives, cache, runner, on_done, sources=True)


def unpack(
    archives: Sequence[Path],
    cache: Path,
    runner: Runner | None,
    on_done: Counter = uncounted,
    *,
    sources: bool = False,
) -> Path:
    """Return the folder below ``cache`` that holds what is in ``archives``, all in one tree.

    It is there whole or not at all, under a name made from the archives' contents and the way in which they
    are unpacked: another version's may leave something else. ``on_done`` hears how many of them are unpacked.
    Without ``runner`` it is libarchive or nothing. Raises UsageError for one that does not unpack,
    InfrastructureError on a full disk, and where libarchive alone could read it and is not there.
    """
    digests = sorted(_sha256(archive) for archive in archives) + ["sources"] * sources
    libarchive = not sources and has_libarchive()
    way = _LAYOUT if libarchive else _SCRIPT
    target = cache / hashlib.sha256("".join([*digests, way]).encode()).hexdigest()[:16]

    def lay_out(staging: Path) -> None:
        if libarchive:
            _lay_out(archives, staging, on_done)
        else:
            _unpack(archives, staging, _tools(archives, runner), on_done, sources=sources)

    return _kept(cache, target, lay_out)


def _kept(cache: Path, target: Path, lay_out: Callable[[Path], None]) -> Path:
    """Return ``target``, a folder below ``cache``, which ``lay_out`` fills where it is not there yet."""
    try:
        with exclusive(cache / ".lock"):
            if not target.is_dir():
                _sweep(cache)
                with tempfile.TemporaryDirectory(prefix=_STAGING, dir=cache) as folder:
                    staging = Path(folder) / "tree"
                    staging.mkdir()
                    lay_out(staging)
                    staging.rename(target)
            keep_in_use(target)
    except OSError as error:
        raise InfrastructureError(f"{cache}: cannot be written: {error.strerror}") from error
    return target


def unpack_initramfs(path: Path, cache: Path) -> Path:
    """Return the folder below ``cache`` with the modules of an initramfs, as ``unpack`` does."""
    target = cache / hashlib.sha256(f"{_sha256(path)} initramfs {_LAYOUT}".encode()).hexdigest()[:16]

    def lay_out(staging: Path) -> None:
        files = KernelFiles(staging)
        files.add_initramfs(path)
        files.finish()

    return _kept(cache, target, lay_out)


def _lay_out(archives: Sequence[Path], staging: Path, on_done: Counter) -> None:
    files = KernelFiles(staging)
    for number, archive in enumerate(archives, 1):
        kind = kind_of(archive)
        if kind is None:
            raise UsageError(f"{archive}: not an archive")
        if kind is Kind.CPIO:
            raise UsageError(
                f"{archive}: a cpio archive, an initramfs perhaps", hint="--initramfs takes that"
            )
        files.add(archive, kind)
        on_done(number, len(archives))
    files.finish()


def _sha256(archive: Path) -> str:
    try:
        return file_sha256(archive)
    except OSError as error:
        raise file_error(error, archive, "cannot be read") from error


def _sweep(cache: Path) -> None:
    """Remove what a killed process left half; the lock says that nobody is at it."""
    for left_over in cache.glob(f"{_STAGING}*"):
        shutil.rmtree(left_over)


def _tools(archives: Sequence[Path], runner: Runner | None) -> Runner:
    """Return what runs the image's tools. Raises InfrastructureError for what they do not unpack."""
    for archive in archives:
        if runner is None or kind_of(archive) not in {Kind.DEB, Kind.TAR}:
            raise InfrastructureError(
                f"{archive}: reading it wants libarchive, which this machine has not", hint=WAY_OUT
            )
    assert runner is not None
    return runner


def _unpack(
    archives: Sequence[Path], staging: Path, runner: Runner, on_done: Counter, *, sources: bool
) -> None:
    names = [f"/in/{n}{'.deb' if is_package(path) else '.tar'}" for n, path in enumerate(archives)]
    mounts = [Mount(path, name) for path, name in zip(archives, names, strict=True)]
    mounts.append(Mount(staging, "/out", writable=True))
    words = ("bash", "-c", _SCRIPT, "unpack", "sources" if sources else "", "/out", *names)
    command = Command(words, tuple(mounts), label="unpack")
    said = bytearray()

    def on_output(piece: bytes) -> None:
        said.extend(piece)
        on_done(said.count(_ONE_MORE.encode()), len(archives))

    done = run(runner, command, on_output)
    if done.status != 0:
        raise _failed(archives, done)


def _failed(archives: Sequence[Path], done: Completed) -> KbtfError:
    number = done.status - _FIRST_FAILED
    archive = archives[number] if 0 <= number < len(archives) else archives[0]
    lines = done.text.replace(_ONE_MORE, "").strip().splitlines()
    if "No space left" in done.text or number < 0:
        return InfrastructureError(f"{archive}: cannot be unpacked: {lines[-1] if lines else done.status}")
    return UsageError(
        f"{archive}: cannot be unpacked: {lines[0] if lines else 'not an archive'}",
        hint="it is cut short or damaged: get it again",
    )
