# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A distribution's packages of headers, and make called on a module outside of any tree with them.

Debian's consist of linux-headers-RELEASE, linux-headers-VERSION-common and linux-kbuild-VERSION, which refer
to each other by absolute paths: in the container they lie where they lie on a machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kbtf_ci.errors import UsageError
from kbtf_ci.infra.record import Counter, uncounted
from kbtf_ci.infra.runner import FILES, Command, Completed, Mount, Runner, run
from kbtf_ci.kernel.kbuild import PAHOLE, pahole_mounts
from kbtf_ci.kernel.packages import is_package, unpack_sources

_HEADERS: Final = "usr/src"
_PREFIX: Final = "linux-headers-"
_KBUILD: Final = "linux-kbuild-*"
_LIBRARIES: Final = "usr/lib"
_HINT: Final = "name linux-headers-RELEASE, linux-headers-VERSION-common and linux-kbuild-VERSION"


@dataclass(frozen=True)
class Headers:
    """Headers of one kernel, unpacked below ``tree``."""

    tree: Path
    release: str

    @property
    def folder(self) -> str:
        """What make is called in, in the container."""
        return f"/{_HEADERS}/{_PREFIX}{self.release}"

    @property
    def vmlinux(self) -> str:
        """Where make looks for vmlinux; a file that is empty lies there."""
        return f"{self.folder}/vmlinux"

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What a container needs to build with them."""
        return tuple(Mount(self.tree / place, f"/{place}") for place in _places(self.tree))


def unpack_headers(
    packages: Sequence[Path], cache: Path, runner: Runner, on_done: Counter = uncounted
) -> Headers:
    """Return the headers in these packages, unpacked below ``cache`` once.

    ``on_done`` hears how many packages are. Raises UsageError for what is no package, or not all that belongs
    together; InfrastructureError.
    """
    for path in packages:
        if not is_package(path):
            raise UsageError(f"--headers {path}: not a Debian package", hint=_HINT)
    tree = unpack_sources(packages, cache, runner, on_done)
    named = " ".join(map(str, packages))
    if any((tree / place).is_symlink() for place in (_HEADERS, _LIBRARIES, *_places(tree))):
        raise UsageError(f"--headers {named}: its folders are links that lead elsewhere")
    # The -common package has no configuration: that is each flavour's own.
    found = sorted(path.parent for path in (tree / _HEADERS).glob(f"{_PREFIX}*/.config"))
    if len(found) != 1:
        raise UsageError(f"--headers {named}: headers of {len(found)} kernels in it, not of one", hint=_HINT)
    others = ((_LIBRARIES, _KBUILD), (_HEADERS, f"{_PREFIX}*-common*"))
    if not all(any((tree / place).glob(name)) for place, name in others):
        raise UsageError(f"--headers {named}: {found[0].name} alone does not build a module", hint=_HINT)
    return Headers(tree, found[0].name.removeprefix(_PREFIX))


def _places(tree: Path) -> Iterator[str]:
    yield _HEADERS
    yield from (str(path.relative_to(tree)) for path in sorted((tree / _LIBRARIES).glob(_KBUILD)))


@dataclass(frozen=True)
class HeadersMake:
    """make as it is called with headers; ``pahole`` is one of this machine's, None for the image's."""

    headers: Headers
    runner: Runner
    pahole: Path | None = None

    def module(self, work: Path, vmlinux: Path, variables: Sequence[str]) -> Completed:
        """Run ``make M=`` on the sources in ``work``, which gets all that is made.

        ``vmlinux`` is what make finds as such; a device is none, for a shell's ``[ -f ]``. What make says is
        in what it returns, whether it failed or not.
        """
        headers, words = self.headers, list(variables)
        mounts = [*headers.mounts, Mount(work, FILES, writable=True), Mount(vmlinux, headers.vmlinux)]
        mounts.extend(pahole_mounts(self.pahole))
        if self.pahole is not None:
            words.append(f"PAHOLE={PAHOLE}")
        argv = ("make", "-C", headers.folder, f"M={FILES}", *words, "modules")
        command = Command(argv, tuple(mounts), {"LC_ALL": "C.UTF-8"}, label="out-of-tree module")
        return run(self.runner, command)
