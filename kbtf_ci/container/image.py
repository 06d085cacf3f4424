# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The toolchain image: one Debian suite with compiler, pahole and QEMU, made once for its content."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass

from kbtf_ci.container import base, subids
from kbtf_ci.container.api import engine_errors, follow
from kbtf_ci.container.engine import Engine
from kbtf_ci.errors import InfrastructureError, UsageError
from kbtf_ci.infra.locks import exclusive, keep_in_use
from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.runner import Command, run
from kbtf_ci.model import options

DEFAULT_SUITE = options.DEFAULT_SUITE

PACKAGES = "/usr/share/kbtf-ci.packages"
_TAIL_LINES = 20

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Toolchain:
    """An image that the engine holds: its name, its Debian suite, and the version of each package in it."""

    image: str
    suite: str
    packages: Mapping[str, str]


def image_name(suite: str) -> str:
    """Return the image's name: its tag holds the hash of all that goes into it.

    Raises UsageError for a suite that is not known.
    """
    if suite not in base.SUITES:
        raise UsageError(f"unknown Debian suite {suite!r}", hint=f"known are {', '.join(base.SUITES)}")
    digest = hashlib.sha256(" ".join([suite, *base.RECIPE]).encode())
    for path, content in _inputs():
        digest.update(f"\0{path}\0{len(content)}\0".encode() + content)
    return f"kbtf-ci/toolchain:{suite}-{digest.hexdigest()[:12]}"


def ensure(engine: Engine, suite: str, on_progress: Progress) -> Toolchain:
    """Return the toolchain of ``suite``, building the image unless the engine holds it already.

    ``on_progress`` gets each line of the build. Raises UsageError for an unknown suite, and
    InfrastructureError, with the last lines, when the build fails.
    """
    name = image_name(suite)

    def make() -> None:
        build(engine, name, _inputs(), base.ensure(engine.address, suite, on_progress), on_progress)

    _once(engine, name, make, on_progress)
    return Toolchain(name, suite, packages(engine, name))


def ensure_on_top(engine: Engine, name: str, containerfile: bytes, below: str, on_progress: Progress) -> None:
    """Make the image ``name`` of a Containerfile on the image ``below``, unless the engine holds it already.

    Raises InfrastructureError as ensure().
    """
    inputs = [("Containerfile", containerfile)]
    _once(engine, name, lambda: build(engine, name, inputs, below, on_progress), on_progress)


def _once(engine: Engine, name: str, make: Callable[[], None], on_progress: Progress) -> None:
    """Make an image unless it is there, and let others that want the same one wait for it."""
    lock = base.lock_folder(name)
    keep_in_use(lock)
    if not base.present(engine.address, name):
        with exclusive(lock, lambda: on_progress(f"waiting for another run that makes {name}")):
            if not base.present(engine.address, name):
                make()


def exported(engine: Engine, name: str) -> Iterator[bytes]:
    """Yield an image in pieces, as the archive that ``docker load`` reads. Raises EngineError."""
    with engine_errors(f"export the image {name}"), closing(engine.address.open()) as client:
        yield from client.get_image(name)


def _inputs() -> list[tuple[str, bytes]]:
    """Return all files of the build's context, sorted: path below ``containers``, content."""
    root = shipped("containers")
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [(str(path.relative_to(root)), path.read_bytes()) for path in files]


def build(
    engine: Engine, name: str, inputs: Iterable[tuple[str, bytes]], base_image: str, on_progress: Progress
) -> None:
    """Make the image ``name`` of ``inputs`` (path, content), among them a Containerfile, on ``base_image``.

    Raises InfrastructureError with the last lines when that fails.
    """
    with subids.to_blame() if engine.rootless else nullcontext():
        _build(engine, name, inputs, base_image, on_progress)


def _build(
    engine: Engine, name: str, inputs: Iterable[tuple[str, bytes]], base_image: str, on_progress: Progress
) -> None:
    tail: deque[str] = deque(maxlen=_TAIL_LINES)

    def on_line(line: str) -> None:
        if line.upper().startswith("STEP "):
            tail.clear()
        tail.append(line)
        on_progress(line)

    with engine_errors(f"build the image {name}"), closing(engine.address.open()) as client:
        complaint = follow(
            client.build(
                fileobj=_context(inputs),
                custom_context=True,
                dockerfile="Containerfile",
                buildargs={"BASE": base_image},
                tag=name,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=None,
            ),
            on_line,
        )
    if complaint:
        raise InfrastructureError(f"the image {name} did not build: {complaint}", detail="\n".join(tail))


def _context(inputs: Iterable[tuple[str, bytes]]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in inputs:
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def packages(engine: Engine, name: str) -> dict[str, str]:
    """Return the version of each package that an image of ours holds. Raises InfrastructureError."""
    listing = run(engine.runner(name), Command(("cat", PACKAGES), label="package list"))
    if listing.status != 0:
        raise InfrastructureError(f"the image {name} holds no {PACKAGES}: {listing.text.strip()}")
    return dict(line.split(" ", 1) for line in listing.text.splitlines())
