# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""A rejection by the kernel: which check, which errno, and the records it leaves in the kernel's log."""

from __future__ import annotations

import errno
from typing import Final

ENOTSUPP: Final = 524  # include/linux/errno.h: internal to the kernel, C libraries have no name for it
# kernel/bpf: BPF_VERIFIER_TMP_LOG_SIZE, the buffer of one call, its NUL counted.
_CALL_BYTES: Final = 1024


class NewerKindError(Exception):
    """The kernel knows the kind of a type, and the checks of that kind are not known here.

    Raised in the place of a verdict; all that comes before the type was accepted.
    """

    def __init__(self, type_id: int, kind: int) -> None:
        super().__init__(type_id, kind)
        self.type_id = type_id
        self.kind = kind


class Rejection(Exception):  # noqa: N818 - the kernel's verdict, no error of ours
    """Raised by the first check that fails; never leaves this package.

    ``rule`` names the check, ``errno`` is positive, ``records`` are the texts that are handed to printk,
    in order, as bytes. ``of_type``: printed by the functions that fall silent for a module's own types where
    CONFIG_MODULE_ALLOW_BTF_MISMATCH is set.
    """

    def __init__(
        self, rule: str, records: tuple[bytes, ...], number: int = errno.EINVAL, *, of_type: bool = False
    ) -> None:
        super().__init__(rule)
        self.rule = rule
        self.errno = number
        self.records = records
        self.of_type = of_type


def reject(rule: str, text: str, number: int = errno.EINVAL) -> Rejection:
    """Return the rejection of a check that prints one line with btf_verifier_log() (kernel/bpf/btf.c)."""
    return Rejection(rule, (bpf_record(text.encode()),), number)


def bpf_record(text: bytes) -> bytes:
    """Return what one call of bpf_verifier_vlog() at level BPF_LOG_KERNEL prints (kernel/bpf/log.c)."""
    return b"BPF: " + text[: _CALL_BYTES - 1]
