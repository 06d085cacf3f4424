"""The program that stands in the place of pahole: it remembers modules' BTF by content, and keeps accounts.

It is containers/btfcache.c, in the image. kbuild is told of it by its own PAHOLE= variable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kbtf_ci.errors import InfrastructureError
from kbtf_ci.runner import Mount

PROGRAM = "/usr/bin/kbtf-ci-pahole"
DEFAULT_MIB = 1024

_CACHE = "/btf-cache"
_ACCOUNTS = "/btf-accounts"
_LOG = "calls"
_SHARD = "[0-9a-f][0-9a-f]"

# pahole's code is in its file and in the libraries that the dynamic linker names; a version alone does not
# tell a patched pahole from an unpatched one. Worked out once for each make, not for each module.
_IDENTIFY = (
    'p=$(command -v -- "${KBTF_CI_PAHOLE:-pahole}") && KBTF_CI_PAHOLE_ID=$({ "$p" --version; cat "$p" '
    '$(LD_TRACE_LOADED_OBJECTS=1 "$p" | grep -o "/[^ ]*"); } 2>&1 | sha256sum) && export KBTF_CI_PAHOLE_ID; '
    'exec "$@"'
)


@dataclass(frozen=True)
class Wrapper:
    """How the wrapper works: the folder it caches in, and the one of its accounts; None for neither."""

    cache: Path | None = None
    accounts: Path | None = None
    max_mib: int = DEFAULT_MIB

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What it must see."""
        pairs = ((self.cache, _CACHE), (self.accounts, _ACCOUNTS))
        return tuple(Mount(folder, target, writable=True) for folder, target in pairs if folder is not None)

    def environment(self, pahole: str) -> Mapping[str, str]:
        """Return its variables; ``pahole`` is the real one."""
        values = {"KBTF_CI_PAHOLE": pahole}
        if self.cache is not None:
            values["KBTF_CI_BTF_CACHE"] = _CACHE
            values["KBTF_CI_BTF_CACHE_MAX"] = str(self.max_mib << 20)
        if self.accounts is not None:
            values["KBTF_CI_BTF_LOG"] = f"{_ACCOUNTS}/{_LOG}"
        return values

    def account(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command line that runs ``argv`` and enters it in the accounts, as kind ``make``."""
        return (PROGRAM, "--account", *argv)

    def launch(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command line that finds out which pahole it is and then becomes ``argv``."""
        return argv if self.cache is None else ("sh", "-c", _IDENTIFY, "sh", *argv)


@dataclass(frozen=True)
class Call:
    """One call: ``kind`` is ``base`` (vmlinux), ``off`` (a module, no cache), ``hit``, ``miss``, or ``make``.

    Times in seconds, memory in KiB; they include what it started.
    """

    kind: str
    subject: str
    user_s: float
    system_s: float
    wall_s: float
    peak_kib: int

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s


def read_accounts(folder: Path) -> tuple[Call, ...]:
    """Return the calls that a wrapper has told of in ``folder``, in the order of their ends."""
    path = folder / _LOG
    if not path.exists():
        return ()
    return tuple(_call(line) for line in path.read_text(errors="replace").splitlines())


def _call(line: str) -> Call:
    kind, subject, *numbers = line.split("\t")
    user, system, wall, peak = (int(number) for number in numbers)
    return Call(kind, subject, user / 1e6, system / 1e6, wall / 1e6, peak)


@dataclass(frozen=True)
class Held:
    """What a cache folder holds: modules' entries, their bytes on disk, and how many of them are sound."""

    folder: Path
    entries: int
    disk_bytes: int
    spoilt: int


def survey(folder: Path) -> Held:
    """Look through a cache folder, reading every entry's checksum; an absent folder holds nothing."""
    entries = sorted(folder.glob(f"{_SHARD}/*"))
    try:
        disk = sum(entry.stat().st_blocks * 512 for entry in entries)
        spoilt = sum(not _is_sound(entry) for entry in entries)
    except OSError as error:
        raise InfrastructureError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return Held(folder, len(entries), disk, spoilt)


def clear(folder: Path) -> int:
    """Remove every entry and return how many there were; a build under way only misses them."""
    removed = 0
    for entry in (*folder.glob(f"{_SHARD}/*"), *folder.glob("base/*")):
        entry.unlink(missing_ok=True)
        removed += entry.parent.name != "base"
    return removed


def _is_sound(entry: Path) -> bool:
    """Hold an entry to its checksum as the wrapper does: struct header, digest_entry() of btfcache.c."""
    data = entry.read_bytes()
    magic, sizes, digest, rest = data[:16], data[16:32], data[32:64], data[64:]
    btf, base = int.from_bytes(sizes[:8], "little"), int.from_bytes(sizes[8:], "little")
    if magic != b"kbtf-ci BTF 1\n\0\0" or btf + base != len(rest):
        return False
    parts = (entry.name.encode(), rest[:btf], rest[btf:])
    told = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return hashlib.sha256(told).digest() == digest
