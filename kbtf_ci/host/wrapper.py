# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""kbtf-ci-pahole and its server, made with this machine's compiler for a kernel developer's own make."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.errors import InfrastructureError, UsageError, file_error
from kbtf_ci.host.needs import WRAPPER_NEEDS, Found, examine
from kbtf_ci.host.runner import HostRunner, search_path
from kbtf_ci.infra.paths import shipped
from kbtf_ci.infra.runner import Command, Mount, run

PROGRAM: Final = "kbtf-ci-pahole"
LIBRARY: Final = "kbtf-ci-pahole-server.so"
# The library first: a wrapper never finds one that is older than itself.
_PARTS: Final = (LIBRARY, PROGRAM)
# Where no folder of the user's is: a runner without containers has others in their place.
_SOURCES: Final = "/kbtf-ci/sources"
_OUT: Final = "/kbtf-ci/out"
# In what a shell, make and the C compiler each take as it is.
_PLAIN: Final = re.compile(r"[\w./+@,-]+")
# Of a distribution without libcrypto.a the shared one is as good, but for the milliseconds of its start.
_MAKE: Final = """
set -e
crypto=-l:libcrypto.a
echo 'int main(void) { return 0; }' > "$2/trial.c"
gcc -o "$2/trial" "$2/trial.c" "$crypto" 2> /dev/null || crypto=-lcrypto
rm -f "$2/trial" "$2/trial.c"
exec make -f "$1/Makefile" pahole O="$2" LIBRARIES="$3" SERVES=y LIBCRYPTO="$crypto"
"""
# A module and its base that nothing but a compiler is needed for.
_TRIAL: Final = """
set -e
cd "$2"
echo 'struct base { int a; } base;' > base.c
echo 'struct module { int b; } module;' > module.c
gcc -g -c -o base.o base.c
gcc -g -c -o module.o module.c
"$1" -J base.o
KBTF_CI_BTF_SERVER_IDLE=1 KBTF_CI_ACCOUNTS="$2/calls" exec "$1" -J --btf_base base.o module.o
"""


@dataclass(frozen=True)
class Installed:
    """The wrapper, its pahole's version, and why no server wrote a trial's BTF, "" where one did."""

    program: Path
    pahole: str
    no_server: str


def install(folder: Path) -> Installed:
    """Make the wrapper and put it into ``folder``, both files or neither, and try it on a module.

    Raises UsageError for a folder that cannot be it, InfrastructureError for what is missing to make it.
    """
    folder = folder.absolute()
    if not _PLAIN.fullmatch(str(folder)):
        raise UsageError(f"{folder}: letters, digits and ./+@,_- alone are safe in make's PAHOLE=")
    found = _require()
    try:
        with _staging(folder) as staging:
            _make(staging, folder)
            _put(staging, folder)
    except OSError as error:
        raise file_error(error, error.filename or folder, "cannot be written") from error
    pahole = next(one.version for one in found if one.need.name == "pahole")
    return Installed(folder / PROGRAM, pahole, _trouble_with_server(folder / PROGRAM))


def _require() -> Sequence[Found]:
    found = examine(search_path(), WRAPPER_NEEDS)
    faults = [one for one in found if one.bars]
    if faults:
        debian = " ".join(dict.fromkeys(one.need.package for one in faults))
        fedora = " ".join(dict.fromkeys(one.need.fedora for one in faults))
        raise InfrastructureError(
            f"the wrapper cannot be made: {', '.join(one.missing for one in faults)}",
            hint=f"apt-get install {debian}, or dnf install {fedora}",
        )
    return found


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Give a folder within ``folder``, which is made, and with an exception gone again."""
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".kbtf-ci-", dir=folder) as name:
            yield Path(name)
    except BaseException:
        if fresh:
            with suppress(OSError):
                folder.rmdir()
        raise


def _make(staging: Path, folder: Path) -> None:
    mounts = (Mount(shipped("containers"), _SOURCES), Mount(staging, _OUT, writable=True))
    words = ("sh", "-c", _MAKE, "sh", _SOURCES, _OUT, str(folder))
    done = run(HostRunner(), Command(words, mounts, label="wrapper"))
    if done.status != 0:
        raise InfrastructureError(
            f"the wrapper could not be made (exit status {done.status})",
            detail="\n".join(done.text.splitlines()[-15:]),
        )


def _put(staging: Path, folder: Path) -> None:
    """Give both files their names; where the second cannot have its own, the first one's is as it was."""
    before = staging / "before"
    target = folder / LIBRARY
    if target.exists():
        os.link(target, before)
    try:
        for part in _PARTS:
            (staging / part).replace(folder / part)
    except BaseException:
        if (staging / PROGRAM).exists():
            before.replace(target) if before.exists() else target.unlink(missing_ok=True)
        raise


def _trouble_with_server(program: Path) -> str:
    """Return why a module is not written by a server, "" where it is."""
    with tempfile.TemporaryDirectory(prefix="kbtf-ci-") as name:
        done = subprocess.run(
            ["sh", "-c", _TRIAL, "sh", str(program), name],
            env={**_environment(), "LLVM_OBJCOPY": "objcopy"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        calls = Path(name) / "calls"
        if done.returncode == 0 and calls.exists() and "off+served\t" in calls.read_text():
            return ""
    lines = done.stdout.decode(errors="replace").split("\n")
    return next((line for line in lines if PROGRAM in line), " ".join(lines).strip() or "it said nothing")


def _environment() -> dict[str, str]:
    """Return what a make of the user's would hand on, without what a server is asked for by."""
    return {key: value for key, value in os.environ.items() if not key.startswith("KBTF_CI_BTF_")}
