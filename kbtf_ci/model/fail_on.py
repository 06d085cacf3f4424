# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What ends a run with 1 though every module is VERIFIED."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from kbtf_ci.errors import UsageError

_NOTHING = "none"


class FailOn(StrEnum):
    """One finding that may count; the value is its name for users. More of them will come."""

    WARNING = "warning"
    BASE_MISMATCH = "base-mismatch"
    VMLINUX = "vmlinux-btf"
    PROOF = "proof"
    UNUSABLE = "unusable"


FINDINGS: Final = {
    FailOn.WARNING: "the kernel warned of something under a load, or at boot, and lived on",
    FailOn.BASE_MISMATCH: "BTF of another vmlinux that loads all the same",
    FailOn.VMLINUX: "vmlinux's BTF in memory, /sys/kernel/btf/vmlinux, is not byte for byte the image's",
    FailOn.PROOF: "with --prove: a BPF program came to something else than was predicted",
    FailOn.UNUSABLE: "kfuncs that no BPF program can call",
}
DEFAULT_FAIL_ON = frozenset({FailOn.BASE_MISMATCH, FailOn.VMLINUX, FailOn.PROOF, FailOn.UNUSABLE})


def parse_fail_on(text: str) -> frozenset[FailOn]:
    """Return what a list such as ``warning,base-mismatch`` names; nothing for ``none`` or an empty one.

    Raises UsageError for a word that is none of FailOn's.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == [_NOTHING]:
        return frozenset()
    known = {finding.value: finding for finding in FailOn}
    for word in words:
        if word not in known:
            raise UsageError(
                f"--fail-on {text}: there is no finding {word!r}",
                hint=f"the findings are {', '.join(known)}; {_NOTHING!r} stands for none of them, and alone",
            )
    return frozenset(known[word] for word in words)
