# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The image's own programs (containers/) on this machine: the image's, where this is one, or made here."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.host.runner import HostRunner, search_path
from kbtf_ci.infra.locks import exclusive, keep_in_use, lock_of
from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.runner import Command, Mount, run

# What the image's recipe leaves of its sources, and where it puts what is made of them.
_SOURCES: Final = Path("/usr/src/kbtf-ci")
_PROGRAMS: Final = ("/usr/bin/kbtf-ci-pahole", "/usr/bin/kbtf-ci-account")
_PLACE: Final = "/usr/lib/kbtf-ci"

# As containers/Containerfile does; the programs are told where what they need will lie in the end.
_MAKE: Final = """
set -e
make -f "$1/Makefile" O="$2" LIBRARIES="$3"
touch -d @0 "$2/kbtf-ci-account"
mkdir "$2/accounted" "$2/bin"
for name in ld ld.bfd resolve_btfids; do ln -s ../kbtf-ci-account "$2/accounted/$name"; done
sh "$1/guest/mkroot" "$1/guest" "$2" "$2/guest-root.cpio"
"""
# make is told of ccache in any case, so that a build stays the same when it is installed.
_NO_CCACHE: Final = '#!/bin/sh\nexec "$@"\n'


def kept_runner(versions: Mapping[str, str], cache: Path) -> HostRunner | None:
    """Return the runner that ``own_runner`` does where there is nothing to make, else None."""
    if "ccache" in versions and _contents(_SOURCES) == _contents(shipped("containers")):
        return HostRunner()
    folder = _folder(versions, cache)
    if not folder.is_dir():
        return None
    keep_in_use(folder)
    programs = {program: folder / Path(program).name for program in _PROGRAMS}
    return HostRunner({**programs, _PLACE: folder}, search_path(folder / "bin"))


def own_runner(versions: Mapping[str, str], cache: Path) -> HostRunner:
    """Return a runner whose commands find our own programs, made in ``cache`` unless they are installed.

    ``versions`` are those of the programs that they are made with. Raises InfrastructureError.
    """
    folder = _folder(versions, cache)
    with exclusive(lock_of(folder)):
        runner = kept_runner(versions, cache)
        if runner is None:
            with tempfile.TemporaryDirectory(prefix=".programs-", dir=cache) as staging:
                _make(Path(staging), folder, ccache="ccache" in versions)
            runner = kept_runner(versions, cache)
    assert runner is not None
    return runner


def _contents(folder: Path) -> list[tuple[str, bytes]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in files]


def _folder(versions: Mapping[str, str], cache: Path) -> Path:
    known = repr((_MAKE, sorted(versions.items()), _contents(shipped("containers"))))
    return cache / hashlib.sha256(known.encode()).hexdigest()[:16]


def _make(staging: Path, folder: Path, *, ccache: bool) -> None:
    made = staging / "made"
    made.mkdir()
    mounts = (Mount(shipped("containers"), "/containers"), Mount(made, "/out", writable=True))
    words = ("sh", "-c", _MAKE, "sh", "/containers", "/out", str(folder))
    done = run(HostRunner(), Command(words, mounts, label="own programs"))
    if done.status != 0:
        raise InfrastructureError(
            f"kbtf-ci's own programs could not be made (exit status {done.status})",
            hint="they are linked with libcrypto.a and libc.a (Debian packages libssl-dev and libc6-dev)",
            detail="\n".join(done.text.splitlines()[-15:]),
        )
    if not ccache:
        program = made / "bin" / "ccache"
        program.write_text(_NO_CCACHE)
        program.chmod(0o755)
    made.rename(folder)
