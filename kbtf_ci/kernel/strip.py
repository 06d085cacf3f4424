# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Modules without their debug information: what the guest carries."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.runner import Command, Mount, Runner, run
from kbtf_ci.model.module import Module
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT, ElfImage

# All files in one command: starting a container per module costs more than its work. Their names, whatever is
# in them, end with NUL, and no shell takes them apart.
_TODO = ".todo"
_SCRIPT = """
strip_one='exec strip --strip-debug -o "$2/$3" "$1/$3"'
exec xargs -0 -r -n 1 -P "$1" sh -c "$strip_one" strip "$2" "$3" < "$4"
"""


def strip_modules(
    runner: Runner, source: Path, target: Path, files: Iterable[str], jobs: int
) -> tuple[str, ...]:
    """Strip ``files`` (paths below ``source``) into ``target`` and return those that were stripped anew.

    A stripped file carries its original's modification time; where that still agrees it is kept.
    Raises InfrastructureError when strip refuses a file.
    """
    todo = tuple(file for file in files if not _is_current(source / file, target / file))
    if not todo:
        return ()
    for folder in {(target / file).parent for file in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    (target / _TODO).write_bytes(b"".join(os.fsencode(file) + b"\0" for file in todo))
    mounts = (Mount(source, "/in"), Mount(target, "/out", writable=True))
    words = ("sh", "-c", _SCRIPT, "sh", str(jobs), "/in", "/out", f"/out/{_TODO}")
    done = run(runner, Command(words, mounts, label="strip"))
    if done.status != 0:
        raise InfrastructureError(f"{source}: strip failed: {done.text.strip()[-300:]}")
    for file in todo:
        modified = (source / file).stat().st_mtime_ns
        os.utime(target / file, ns=(modified, modified))
    return todo


def lean_modules(runner: Runner, source: Path, target: Path, modules: Iterable[Module], jobs: int) -> None:
    """Put ``modules``, stored below ``source``, at their ``file`` below ``target``.

    There they are plain ELF without debug information. Raises UsageError for one that cannot be unpacked,
    InfrastructureError for a full disk and where strip refuses one.
    """
    plain, packed = [], []
    for module in modules:
        if not module.packed:
            plain.append(module.file)
        elif not _is_current(source / module.stored, target / module.file):
            packed.append(module)
    strip_modules(runner, source, target, plain, jobs)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpacked-") as scratch:
        try:
            # Unpacking and writing let other threads run.
            with ThreadPoolExecutor(jobs) as pool:
                debug = list(pool.map(lambda one: _unpack(one, source, target, Path(scratch)), packed))
        except OSError as error:
            raise InfrastructureError(f"{target}: cannot be written: {error.strerror}") from error
        strip_modules(runner, Path(scratch), target, [file for file in debug if file], jobs)


def unpack_modules(source: Path, target: Path, modules: Iterable[Module], jobs: int) -> None:
    """Put ``modules``, stored below ``source``, unpacked at their ``file`` below ``target``, else unchanged.

    Raises UsageError for one that cannot be unpacked, InfrastructureError for a full disk.
    """

    def one(module: Module) -> None:
        path = target / module.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(load(source / module.stored, MODULE_LIMIT)[:])

    try:
        # Unpacking and writing let other threads run.
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, modules))
    except OSError as error:
        raise InfrastructureError(f"{target}: cannot be written: {error.strerror}") from error


def _unpack(module: Module, source: Path, target: Path, scratch: Path) -> str:
    """Unpack a module to where it belongs; one with debug information below ``scratch``, and return its file.

    Distributions strip what they pack, and strip would only copy it.
    """
    stored = source / module.stored
    image = ElfImage(load(stored, MODULE_LIMIT), str(stored))
    debug = image.find(".debug_info") is not None
    path = (scratch if debug else target) / module.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image.data)
    modified = stored.stat().st_mtime_ns
    os.utime(path, ns=(modified, modified))
    return module.file if debug else ""


def _is_current(original: Path, stripped: Path) -> bool:
    return stripped.is_file() and stripped.stat().st_mtime_ns == original.stat().st_mtime_ns
