# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the catalogue says of a case: what goes wrong, in which kernels, and what they are to say. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.version import Version, shown

# A line of an expected log that stands for any lines on BTF, or none.
ANY: Final = "..."


_QUIET_SINCE: Final = (6, 3)


@dataclass(frozen=True)
class Traits:
    """What of a kernel decides which cases apply to it."""

    version: Version
    allows_mismatch: bool
    alterable: bool
    livepatch: bool = False
    fentry: bool = False


@dataclass(frozen=True)
class Expected:
    """What a kernel says of one module, written down by hand.

    ``errno`` is positive, 0 for a load that succeeds. ``log`` holds the lines on BTF, all of them and in
    order, with ``<number>``, ``<hex>``, ``<name>``, ``<text>`` and ``<module>`` for what is not the same
    everywhere, and ANY for lines that may be there. ``sysfs``: whether ``/sys/kernel/btf/<module>`` is there
    after the load. ``vmlinux_differs``: vmlinux's BTF in memory is another than the image's. ``outcome`` is
    None where there is no module, since its build fails. ``build`` holds lines that make says, in this order
    and among others. ``misdescribed`` names the functions that BPF programs find otherwise than the untouched
    module describes them, ``uncallable`` the kfuncs that they cannot call.
    """

    outcome: Outcome | None
    errno: int = 0
    log: tuple[str, ...] = ()
    sysfs: bool = False
    vmlinux_differs: bool = False
    build: tuple[str, ...] = ()
    misdescribed: tuple[str, ...] = ()
    uncallable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Expectation:
    """What a kernel says that refuses what it cannot take, and one that then loads modules without BTF.

    The latter is CONFIG_MODULE_ALLOW_BTF_MISMATCH=y (kernel/bpf/btf.c, btf_module_notify()).
    """

    refusing: Expected
    allowing: Expected

    def under(self, kernel: Traits) -> Expected:
        """Return the one for a kernel of this configuration and version.

        Before 6.3 a kernel that allows a mismatch says all the same what one says that refuses.
        """
        if not kernel.allows_mismatch:
            return self.refusing
        noisy = kernel.version < _QUIET_SINCE and self.refusing.outcome is Outcome.REJECTED
        return replace(self.allowing, log=self.refusing.log) if noisy else self.allowing


class Need(StrEnum):
    """What a case wants of the kernel or the machine besides a version."""

    MISMATCH = "mismatch"  # CONFIG_MODULE_ALLOW_BTF_MISMATCH=y
    ALTERABLE = "pvh"  # an image that boots with other BTF; the word is the one it was released with
    LIVEPATCH = "livepatch"  # CONFIG_LIVEPATCH=y
    NO_LIVEPATCH = "no livepatch"
    FENTRY = "fentry"  # what BPF programs on functions take: configs/trace.config
    TREE = "tree"  # the build that the kernel came from


_PACKED: Final = "its image unpacks itself, so no other BTF can be put into it (x86_64: CONFIG_PVH is off)"
_WANTED: Final = {
    Need.MISMATCH: ("allows_mismatch", True, "CONFIG_MODULE_ALLOW_BTF_MISMATCH is off"),
    Need.ALTERABLE: ("alterable", True, _PACKED),
    Need.LIVEPATCH: ("livepatch", True, "CONFIG_LIVEPATCH is off"),
    Need.NO_LIVEPATCH: ("livepatch", False, "CONFIG_LIVEPATCH is on"),
    Need.FENTRY: ("fentry", True, "it lacks what configs/trace.config has"),
}


@dataclass(frozen=True)
class CaseFacts:
    """What there is to say of a case.

    ``failure_class`` is a number of the catalogue of real failures, ``story`` says what goes wrong in the
    field, ``source`` where the expectation was read. It holds for kernels from ``since`` to ``until``, both
    included. ``why_not`` is the reason of what is known and not run.
    """

    name: str
    failure_class: int
    title: str
    story: str
    source: str
    expected: Expectation
    since: Version = (5, 19)
    until: Version | None = None
    needs: frozenset[Need] = frozenset()
    why_not: str = ""

    @property
    def module(self) -> str:
        """The name that its module goes by, unless it is another's by nature."""
        return self.name.replace("-", "_")

    @property
    def versions(self) -> str:
        """The kernels that it holds for, in words."""
        return (
            f"{shown(self.since)} to {shown(self.until)}" if self.until else f"{shown(self.since)} and later"
        )

    def inapplicable(self, kernel: Traits) -> str:
        """Return why it says nothing of a kernel, "" where it applies."""
        if self.why_not:
            return self.why_not
        if kernel.version < self.since or (self.until is not None and kernel.version > self.until):
            return f"of Linux {self.versions}"
        for need, (trait, wanted, reason) in _WANTED.items():
            if need in self.needs and getattr(kernel, trait) is not wanted:
                return reason
        return ""
