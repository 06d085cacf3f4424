# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What kbuild is told so that it builds for an architecture, and which of its files boots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kbtf_ci.errors import UsageError
from kbtf_ci.model.kernel import X86_64


@dataclass(frozen=True)
class Target:
    """An architecture to build for.

    ``architecture`` is its name as in model/architecture.py, ``arch`` kbuild's own, that of the folder in
    arch/. ``prefix`` stands before the names of a cross compiler's programs, "" for the machine's own.
    ``image`` is the path of what boots, below the build directory.
    """

    architecture: str
    arch: str
    prefix: str
    image: str

    @property
    def variables(self) -> tuple[str, ...]:
        """Make's variables for it; none where kbuild finds out by itself."""
        return (f"ARCH={self.arch}", f"CROSS_COMPILE={self.prefix}") if self.prefix else ()


NATIVE: Final = Target(X86_64, "x86", "", "arch/x86/boot/bzImage")
TARGETS: Final = (
    NATIVE,
    Target("arm64", "arm64", "aarch64-linux-gnu-", "arch/arm64/boot/Image"),
    Target("s390x", "s390", "s390x-linux-gnu-", "arch/s390/boot/bzImage"),
    Target("riscv64", "riscv", "riscv64-linux-gnu-", "arch/riscv/boot/Image"),
    # QEMU's pseries starts the ELF file itself; arch/powerpc/boot has nothing smaller that it takes.
    Target("ppc64le", "powerpc", "powerpc64le-linux-gnu-", "vmlinux"),
)  # fmt: skip


def target_of(architecture: str) -> Target:
    """Return the target of that name. Raises UsageError for one that nothing is built for."""
    for target in TARGETS:
        if target.architecture == architecture:
            return target
    known = ", ".join(target.architecture for target in TARGETS)
    raise UsageError(f"--arch {architecture}: no kernel is built for that", hint=f"known are {known}")
