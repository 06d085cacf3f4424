# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Where the kernel's source comes from: the suite's package, a tree, a tarball or a URL."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.infra.locks import exclusive
from kbtf_ci.infra.runner import Command, Mount, Runner, run

_SUITE_TARBALLS = "/usr/src/linux-source-*.tar.xz"
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
    with exclusive(cache / f"{key}.lock"):
        if not target.is_dir():
            _unpack_in_container(runner, target)
    return _checked(target, f"{package} of {suite}", key)


def _unpack_in_container(runner: Runner, target: Path) -> None:
    with _staging(target) as staging:
        script = f'set -- {_SUITE_TARBALLS}; exec tar -C /out --strip-components=1 -xf "$1"'
        done = run(
            runner,
            Command(("sh", "-c", script), mounts=(Mount(staging, "/out", writable=True),), label="source"),
        )
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
    digest = file_sha256(path)
    key = f"tarball-{digest[:12]}"
    target = cache / key
    with exclusive(cache / f"{key}.lock"):
        if not target.is_dir():
            _unpack(path, target)
    return _checked(target, str(path), key)


def from_url(url: str, sha256: str, cache: Path, on_progress: Callable[[str], None]) -> Source:
    """Download a tarball, hold it to ``sha256`` (64 hex digits), and unpack it as ``from_tarball``."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", sha256) is None:
        raise UsageError(
            f"-C {url}: a URL needs --sha256 with 64 hex digits", hint="sha256sum FILE prints them"
        )
    download = cache / f"download-{sha256.lower()}"
    with exclusive(cache / f"{download.name}.lock"):
        if not download.exists():
            _download(url, sha256.lower(), download, on_progress)
    return from_tarball(download, cache)


def _download(url: str, sha256: str, target: Path, on_progress: Callable[[str], None]) -> None:
    on_progress(f"downloading {url}")
    with tempfile.NamedTemporaryFile(dir=target.parent) as file:
        digest = hashlib.sha256()
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - workspace.source() lets only http(s) through
                while chunk := answer.read(_CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise InfrastructureError(f"-C {url}: cannot be downloaded: {error}") from error
        file.flush()
        if digest.hexdigest() != sha256:
            raise UsageError(f"-C {url}: its sha256 is {digest.hexdigest()}, not {sha256}")
        shutil.copyfile(file.name, target)


def _unpack(tarball: Path, target: Path) -> None:
    with _staging(target) as staging:
        try:
            with tarfile.open(tarball) as archive:
                archive.extractall(staging, filter="data")
        except tarfile.FilterError as error:
            raise UsageError(f"{tarball}: unsafe archive member refused: {error}") from error
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UsageError(f"{tarball}: not a readable tar archive: {error}") from error
        entries = list(staging.iterdir())
        top = entries[0] if len(entries) == 1 and entries[0].is_dir() else staging
        _checked(top, str(tarball), "")
        top.rename(target)


class _staging:  # noqa: N801 - reads as a function at its two callers
    """A folder beside ``target`` that is gone afterwards unless it was renamed to it."""

    def __init__(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))

    def __enter__(self) -> Path:
        return self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def _checked(tree: Path, origin: str, key: str) -> Source:
    makefile = tree / "Makefile"
    text = makefile.read_text(errors="replace") if makefile.is_file() else ""
    numbers = [
        re.search(rf"^{part} *= *(\S*)", text, re.MULTILINE)
        for part in ("VERSION", "PATCHLEVEL", "SUBLEVEL", "EXTRAVERSION")
    ]
    if not (tree / "Kconfig").is_file() or numbers[0] is None or numbers[1] is None:
        raise UsageError(
            f"{origin}: not a kernel source tree (no Kconfig, or no VERSION in its Makefile)",
            hint="-C takes the top folder of a Linux tree, a tarball of one, or its URL",
        )
    version, patchlevel, sublevel, extra = (match[1] if match else "" for match in numbers)
    return Source(tree, f"{version}.{patchlevel}" + (f".{sublevel}" if sublevel else "") + extra, origin, key)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
