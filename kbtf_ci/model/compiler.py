# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which compiler a kernel is built with, by the name that Debian's packages and programs have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kbtf_ci.errors import UsageError

_NAME: Final = re.compile(r"(gcc|clang)(?:-(\d{1,3}))?(\+rust)?")
# What Documentation/rust/quick-start.rst asks for, in Debian's packages.
_RUST: Final = ("rustc", "bindgen", "rust-src")


class Family(StrEnum):
    """Compilers that kbuild knows: clang stands for all of LLVM (LLVM=1), gcc for gcc and binutils."""

    GCC = "gcc"
    CLANG = "clang"


@dataclass(frozen=True)
class Compiler:
    """A compiler; ``version`` is the number behind its programs' names, "" for the suite's own.

    ``rust``: with the suite's rustc beside it.
    """

    family: Family = Family.GCC
    version: str = ""
    rust: bool = False

    @property
    def suffix(self) -> str:
        """What stands behind the names of its programs: ``-19``, or nothing."""
        return f"-{self.version}" if self.version else ""

    @property
    def name(self) -> str:
        """Its name, as --toolchain has it."""
        return f"{self.host_program}{'+rust' if self.rust else ''}"

    @property
    def host_program(self) -> str:
        """The compiler of kbuild's own programs."""
        return f"{self.family}{self.suffix}"

    def program(self, prefix: str) -> str:
        """Return the compiler's program for kernels; ``prefix`` is what a cross gcc's name begins with."""
        return self.host_program if self.family is Family.CLANG else f"{prefix}{self.host_program}"

    @property
    def variables(self) -> tuple[str, ...]:
        """Make's variables that choose it besides CC and HOSTCC (Documentation/kbuild/llvm.rst)."""
        return (f"LLVM={self.suffix or 1}",) if self.family is Family.CLANG else ()

    def packages(self, triplet: str) -> tuple[str, ...]:
        """Return Debian's packages of it; ``triplet`` is that of an architecture to build for, "" for none.

        A triplet stands in a package's name without its underscore.
        """
        rust = _RUST if self.rust else ()
        if self.family is Family.CLANG:
            return (*(f"{name}{self.suffix}" for name in ("clang", "lld", "llvm")), *rust)
        own = self.host_program
        cross = (f"{own}-{triplet.replace('_', '-')}",) if triplet else ()
        return (own, *cross, *rust)

    @property
    def linkers(self) -> tuple[str, ...]:
        """The names under which kbuild calls its linker, of clang; gcc's is that of binutils."""
        return (f"ld.lld{self.suffix}",) if self.family is Family.CLANG else ()


DEFAULT: Final = Compiler()


def compiler_named(name: str) -> Compiler:
    """Return the compiler of that name, the suite's gcc for "". Raises UsageError for none."""
    match = _NAME.fullmatch(name or Family.GCC)
    if match is None:
        raise UsageError(
            f"--toolchain {name}: no compiler's name",
            hint="gcc, clang, with a number as clang-19, with Rust as clang-19+rust",
        )
    return Compiler(Family(match[1]), match[2] or "", rust=bool(match[3]))
