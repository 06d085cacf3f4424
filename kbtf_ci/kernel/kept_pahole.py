# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Paholes that were made once, in folders of the cache that are named by all that they are made of."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.locks import exclusive, keep_in_use, lock_of
from kbtf_ci.infra.runner import Command, Mount, Runner, run

PROGRAM: Final = "pahole"
LIBBPF: Final = "libbpf"  # beside one that brings its own: the version of that
_OUT: Final = "/out"


def embedded_libbpf(program: Path) -> str:
    """Return the version of the libbpf in a pahole that was built here, ``"1.8"``; "" where none is said."""
    try:
        return program.with_name(LIBBPF).read_text().strip()
    except OSError:
        return ""


def kept_program(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return the program in a folder; where it is not there yet, ``make`` fills one that takes its place.

    Raises InfrastructureError when the cache cannot be written, and what ``make`` does.
    """
    with exclusive(lock_of(folder)):
        keep_in_use(folder)
        if not (folder / PROGRAM).is_file():
            _made_whole(folder, make)
    return folder / PROGRAM


def _made_whole(folder: Path, make: Callable[[Path], None]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".pahole-{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise InfrastructureError(f"{folder.parent}: cannot be written: {error.strerror}") from error
    try:
        make(staging)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def kept_of_image(image: str, place: str, cache: Path, runner: Callable[[], Runner]) -> Path:
    """Return a pahole that lies in an image at ``place``, with its libraries, copied to ``cache`` once.

    ``runner`` gives what runs commands in the image. Raises InfrastructureError when it is not there.
    """

    def copy(staging: Path) -> None:
        script = f'cp -a "$0/{PROGRAM}" "$0/{PROGRAM}.lib" {_OUT}/'
        command = Command(
            ("sh", "-c", script, place), (Mount(staging, _OUT, writable=True),), label="copy pahole"
        )
        done = run(runner(), command)
        if done.status != 0:
            raise InfrastructureError(f"{image}: pahole cannot be copied: {done.text.strip()[-300:]}")

    return kept_program(cache / hashlib.sha256(image.encode()).hexdigest()[:16], copy)
