# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What cases of a build and of packaging are made with: the real make, pahole and binutils. A protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Vmlinux(StrEnum):
    """What make finds under the name vmlinux in the build directory."""

    WHOLE = "the build's own"
    CUT = "the first half of it"
    ABSENT = "nothing"


@dataclass(frozen=True)
class Output:
    """The end of a command: its exit status, all that it said, and the files that lie in FILES then."""

    status: int
    lines: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)


class Workshop(Protocol):
    """Runs commands in the toolchain image, on files of a case's own, which lie in FILES (infra/runner.py).

    All but ``tool`` need the build that the kernel came from, and raise NotThereError where there is none.
    """

    def tool(self, argv: Sequence[str], files: Mapping[str, bytes], wanted: Sequence[str]) -> Output:
        """Run a program in FILES, with ``files`` in it, and return those that are ``wanted``."""

    def external(
        self,
        files: Mapping[str, bytes],
        wanted: Sequence[str],
        variables: Sequence[str] = (),
        vmlinux: Vmlinux | bytes = Vmlinux.WHOLE,
    ) -> Output:
        """Run ``make M=`` on an out-of-tree module's ``files``; ``vmlinux`` may be a file of one's own."""

    def relinked(self, module: str, addition: str) -> Output:
        """Add C to a file that is built in, make vmlinux and then the in-tree ``module``: MODULE.ko.

        All in a copy of the build directory.
        """

    def encoded(self, *flags: str) -> bytes:
        """Return vmlinux's BTF as the build's pahole writes it, with ``flags`` behind the build's own."""

    def source(self, path: str) -> bytes:
        """Return a file of the kernel's source."""
