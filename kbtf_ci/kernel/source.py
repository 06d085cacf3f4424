# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where the kernel's source comes from: the suite's package, a tree, a tarball or a URL."""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kbtf_ci.errors import InfrastructureError, UsageError, file_error
from kbtf_ci.infra.locks import exclusive, keep_in_use, lock_of
from kbtf_ci.infra.runner import Command, Mount, Runner, run
from kbtf_ci.infra.tarball import extract
from kbtf_ci.infra.whole import whole_file

_UNPACK = 'out=$1; set -- /usr/src/linux-source-*.tar.xz; exec tar -C "$out" --strip-components=1 -xf "$1"'
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """A kernel tree that nothing writes to.

    ``version`` is its ``make kernelversion``, ``origin`` says for people where it came from, ``key``
    tells this source from any other: build directories are named after it. ``fixed`` says that nobody
    else writes to it either, as a user does to their own tree.
    """

    path: Path
    version: str
    origin: str
    key: str
    fixed: bool = True


def from_suite(runner: Runner, suite: str, package: str, cache: Path) -> Source:
    """Return the source package of the toolchain image, unpacked into ``cache`` once.

    ``package`` is the package's name and exact version, which names the folder.
    """
    key = f"{suite}-{_digest(package)}"
    target = cache / key
    with exclusive(lock_of(target)):
        if not _is_kept(target):
            _unpack_in_container(runner, target)
        keep_in_use(target)
    return _checked(target, f"{package} of {suite}", key)


def _unpack_in_container(runner: Runner, target: Path) -> None:
    with _staging(target) as staging:
        words = ("sh", "-c", _UNPACK, "sh", "/out")
        done = run(runner, Command(words, (Mount(staging, "/out", writable=True),), label="source"))
        if done.status != 0:
            raise InfrastructureError(f"the kernel source did not unpack: {done.text.strip()[-300:]}")
        staging.rename(target)


def from_directory(path: Path) -> Source:
    """Return the user's own tree. Raises UsageError when it is none, or cannot serve an out-of-tree build."""
    tree = path.resolve()
    source = _checked(tree, str(tree), f"tree-{_digest(str(tree))}")
    # The kernel's Makefile refuses O= for such a tree ("The source tree is not clean").
    for left_over in (".config", "include/config", "arch/x86/include/generated"):
        if (tree / left_over).exists():
            raise UsageError(
                f"-C {path}: built in place before ({left_over} is there); an out-of-tree build refuses it",
                hint="run 'make mrproper' in it, or give a clean 'git worktree add' of it",
            )
    return replace(source, fixed=False)


def from_tarball(path: Path, cache: Path) -> Source:
    """Return the tree in a tarball, unpacked into ``cache`` once.

    Members that would land outside of it are refused (tarfile's ``data`` filter).
    """
    if not path.is_file():
        raise UsageError(f"-C {path}: no such file or directory")
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise file_error(error, f"-C {path}", "cannot be read") from error
    return _of_digest(digest, str(path), cache, lambda target: _unpack(path, target))


def _of_digest(sha256: str, origin: str, cache: Path, fill: Callable[[Path], None]) -> Source:
    """Return the tree of the tarball with this digest; ``fill`` unpacks it where it is not there yet."""
    key = f"tarball-{sha256[:12]}"
    target = cache / key
    with exclusive(lock_of(target)):
        if not _is_kept(target):
            fill(target)
        keep_in_use(target)
    return _checked(target, origin, key)


def _is_kept(target: Path) -> bool:
    """Return whether the cache has the tree; what is in its place and is none goes, as of a cache restored.

    Raises InfrastructureError where it cannot go.
    """
    if target.is_dir() and version_of(target):
        return True
    try:
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"{target}: holds no kernel's source and cannot be removed: {error.strerror or error}"
        ) from error
    return False


def from_url(url: str, sha256: str, cache: Path, on_progress: Callable[[str], None]) -> Source:
    """Download a tarball, hold it to ``sha256`` (64 hex digits), and unpack it as ``from_tarball``."""
    digest = checked_digest(url, sha256)
    return _of_digest(digest, url, cache, lambda target: _fetch(url, digest, target, on_progress))


def checked_digest(url: str, sha256: str) -> str:
    """Return ``sha256`` as what is behind ``url`` is kept under. Raises UsageError when it is no digest."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", sha256) is None:
        raise UsageError(
            f"-C {url}: a URL needs --sha256 with 64 hex digits", hint="sha256sum FILE prints them"
        )
    return sha256.lower()


def download_of(cache: Path, digest: str) -> Path:
    """Return where a download with this sha256 is kept below ``cache``."""
    return cache / f"download-{digest}"


def _fetch(url: str, sha256: str, target: Path, on_progress: Callable[[str], None]) -> None:
    """Unpack what a URL gives; a download that is there already is used when it is what was asked for."""
    download = download_of(target.parent, sha256)
    with exclusive(lock_of(download)):
        try:
            if download.exists() and file_sha256(download) != sha256:
                on_progress(f"{download} is damaged")
                download.unlink()
            if not download.exists():
                _download(url, sha256, download, on_progress)
        except OSError as error:
            raise InfrastructureError(f"{download}: cannot be kept: {error.strerror or error}") from error
        _unpack(download, target, url)


def _download(url: str, sha256: str, target: Path, on_progress: Callable[[str], None]) -> None:
    on_progress(f"downloading {url}")
    with whole_file(target) as file:
        digest = hashlib.sha256()
        for chunk in _chunks(url):
            digest.update(chunk)
            file.write(chunk)
        if digest.hexdigest() != sha256:
            raise UsageError(f"-C {url}: its sha256 is {digest.hexdigest()}, not {sha256}")


def _chunks(url: str) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - workspace.source() lets only http(s) through
            while chunk := answer.read(_CHUNK):
                yield chunk
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise InfrastructureError(f"-C {url}: cannot be downloaded: {error}") from error


def _unpack(tarball: Path, target: Path, origin: str = "") -> None:
    origin = origin or str(tarball)
    with _staging(target) as staging:
        top = extract(tarball, staging, origin)
        _checked(top, origin, "")
        top.rename(target)


class _staging:  # noqa: N801 - reads as a function at its two callers
    """A folder beside ``target`` that is gone afterwards unless it was renamed to it."""

    def __init__(self, target: Path) -> None:
        prefix = f".unpack-{target.name}-"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            for left_over in target.parent.glob(f"{prefix}*"):
                # Of a process that was killed: whoever unpacks holds the target's lock.
                shutil.rmtree(left_over, ignore_errors=True)
            self._path = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
        except OSError as error:
            raise InfrastructureError(f"{target.parent}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _checked(tree: Path, origin: str, key: str) -> Source:
    version = version_of(tree)
    if not version:
        raise UsageError(
            f"{origin}: not a kernel source tree (no Kconfig, or no VERSION in its Makefile)",
            hint="-C takes the top folder of a Linux tree, a tarball of one, or its URL",
        )
    return Source(tree, version, origin, key)


def version_of(tree: Path) -> str:
    """Return a kernel tree's ``make kernelversion``, "" for a folder that is none."""
    makefile = tree / "Makefile"
    text = makefile.read_text(errors="replace") if makefile.is_file() else ""
    numbers = [
        re.search(rf"^{part} *= *(\S*)", text, re.MULTILINE)
        for part in ("VERSION", "PATCHLEVEL", "SUBLEVEL", "EXTRAVERSION")
    ]
    if not (tree / "Kconfig").is_file() or numbers[0] is None or numbers[1] is None:
        return ""
    version, patchlevel, sublevel, extra = (match[1] if match else "" for match in numbers)
    return f"{version}.{patchlevel}" + (f".{sublevel}" if sublevel else "") + extra


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
