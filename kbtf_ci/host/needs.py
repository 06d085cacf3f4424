# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which programs of this machine stand in the place of the toolchain image's, and in which versions.

The least versions of what builds a kernel are those of Documentation/process/changes.rst in 6.12; a newer
kernel's own scripts refuse what is too old for it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from kbtf_ci.model.compiler import Compiler, Family

# The first number with a dot, or the first one: "GNU ld (GNU Binutils for Debian) 2.44", "kmod version 34".
_VERSIONS: Final = (re.compile(r"\d+(?:\.\d+)+"), re.compile(r"\d+"))
_PATIENCE_S: Final = 60


@dataclass(frozen=True)
class Need:
    """A program or a library: how it tells its version, its Debian package, and the least one, "" for any.

    ``fedora`` is Fedora's package, where somebody is told of it.
    """

    name: str
    probe: tuple[str, ...]
    package: str
    least: str = ""
    optional: bool = False
    fedora: str = ""


def _header(name: str, include: str, macro: str, package: str) -> Need:
    script = f"printf '#include <{include}>\\n{macro}\\n' | gcc -E -P - | tail -n 1"
    return Need(name, ("sh", "-c", script), package)


# BusyBox is copied into a guest that has no libraries: only a static one says its version here.
_BUSYBOX: Final = 'ldd "$(command -v busybox)" >/dev/null 2>&1 || busybox | head -n 1'
_DROPBEAR: Final = "command -v dropbear >/dev/null && dropbear -V 2>&1"

NEEDS: Final = (
    Need("gcc", ("gcc", "-dumpfullversion"), "gcc", "5.1"),
    Need("ld", ("ld", "--version"), "binutils", "2.25"),
    Need("make", ("make", "--version"), "make", "4.0"),
    Need("bison", ("bison", "--version"), "bison", "2.0"),
    Need("flex", ("flex", "--version"), "flex", "2.5.35"),
    Need("bc", ("bc", "--version"), "bc", "1.06.95"),
    # The first that writes split BTF (PAHOLE_HAS_SPLIT_BTF of lib/Kconfig.debug).
    Need("pahole", ("pahole", "--version"), "pahole", "1.19"),
    Need("perl", ("perl", "-e", 'printf "%vd", $^V'), "perl-base", "5"),
    # os.waitstatus_to_exitcode() of kernel/encode_worker.py.
    Need("python3", ("python3", "--version"), "python3-minimal", "3.9"),
    Need("depmod", ("depmod", "--version"), "kmod", "13"),
    Need("openssl", ("openssl", "version"), "openssl", "1.0.0"),
    Need("rsync", ("rsync", "--version"), "rsync"),
    Need("xz", ("xz", "--version"), "xz-utils"),
    Need("zstd", ("zstd", "--version"), "zstd"),
    # --reproducible of containers/guest/mkroot.
    Need("cpio", ("cpio", "--version"), "cpio", "2.12"),
    # The first that knows every flag of guest/qemu.py's TCG_CPU.
    Need("qemu-system-x86_64", ("qemu-system-x86_64", "--version"), "qemu-system-x86", "5.2"),
    Need("busybox", ("sh", "-c", _BUSYBOX), "busybox-static"),
    # Ed25519 keys, which a run's are.
    Need("dropbear", ("sh", "-c", _DROPBEAR), "dropbear-bin", "2020.79"),
    _header("libcrypto", "openssl/opensslv.h", "OPENSSL_VERSION_TEXT", "libssl-dev"),
    _header("libelf", "elfutils/version.h", "_ELFUTILS_VERSION", "libelf-dev"),
    _header("zlib", "zlib.h", "ZLIB_VERSION", "zlib1g-dev"),
    Need("ccache", ("ccache", "--version"), "ccache", "3.7", optional=True),
)
# What pahole is built with besides (--pahole-tree).
PAHOLE_NEEDS: Final = (
    Need("cmake", ("cmake", "--version"), "cmake"),
    _header("libdw", "elfutils/libdw.h>\\n#include <elfutils/version.h", "_ELFUTILS_VERSION", "libdw-dev"),
)
# What kbtf-ci-pahole is made with, and what it stands before, on a kernel developer's own machine.
WRAPPER_NEEDS: Final = tuple(
    replace(need, fedora=fedora)
    for name, fedora in (
        ("gcc", "gcc"),
        ("make", "make"),
        ("pahole", "dwarves"),
        ("libelf", "elfutils-libelf-devel"),
        ("libcrypto", "openssl-devel"),
    )
    for need in NEEDS
    if need.name == name
)


def compiler_needs(compiler: Compiler, prefix: str) -> tuple[Need, ...]:
    """Return what this machine needs to build with a compiler; ``prefix`` is a cross gcc's."""
    suffix = compiler.suffix
    if compiler.family is Family.CLANG:
        packages = {"clang": "clang", "ld.lld": "lld", "llvm-ar": "llvm"}
    else:
        packages = {"gcc": "gcc"}
    named = {f"{name}{suffix}": f"{package}{suffix}" for name, package in packages.items()}
    if prefix and compiler.family is Family.GCC:
        named[compiler.program(prefix)] = f"gcc{suffix}-{prefix.rstrip('-').replace('_', '-')}"
    if compiler.rust:
        named |= {"rustc": "rustc", "bindgen": "bindgen"}
    return tuple(Need(name, (name, "--version"), package) for name, package in named.items())


@dataclass(frozen=True)
class Found:
    """What is there of a need: its version, "" for nothing."""

    need: Need
    version: str

    @property
    def fault(self) -> str:
        """What is wrong with it, in a line that names its version and the one that is wanted; else ""."""
        return f"{self.missing} (Debian package {self.need.package})" if self.missing else ""

    @property
    def missing(self) -> str:
        """The same without a package's name."""
        need = self.need
        if self.version and _number(self.version) >= _number(need.least):
            return ""
        found = f"version {self.version} found" if self.version else "not found"
        wanted = f", {need.least} or newer wanted" if need.least else ""
        return f"{need.name}: {found}{wanted}"

    @property
    def bars(self) -> bool:
        """Whether nothing works like that: what is optional may be missing, but not too old."""
        return bool(self.fault) and bool(self.version or not self.need.optional)


def examine(path: str, needs: Sequence[Need] = NEEDS) -> tuple[Found, ...]:
    """Return what is there of each need, with programs looked for in the folders of ``path``."""
    with ThreadPoolExecutor() as pool:
        return tuple(pool.map(lambda need: Found(need, _version(need.probe, path)), needs))


def parse_version(text: str) -> str:
    """Return the version in what a program prints for it, "" for none."""
    return next((match[0] for pattern in _VERSIONS if (match := pattern.search(text))), "")


def _version(probe: Sequence[str], path: str) -> str:
    try:
        done = subprocess.run(
            ["env", "-i", f"PATH={path}", "LC_ALL=C", *probe],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return parse_version(done.stdout.decode(errors="replace")) if done.returncode == 0 else ""


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)
