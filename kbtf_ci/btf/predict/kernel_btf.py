# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether what is named as the kernel can be judged by at all: what speaks against it is the user's to mend.

A kernel that would itself refuse the BTF of its vmlinux is another matter, and no error: it is a verdict.
"""

from __future__ import annotations

import sys

from kbtf_ci.btf.format.header import Header
from kbtf_ci.btf.format.reader import Btf, BtfError
from kbtf_ci.btf.format.wire import HEADER_BYTES, SWAPPED_MAGIC
from kbtf_ci.btf.rules.features import read_off
from kbtf_ci.btf.rules.versions import FIRST, Rules, Version, is_too_old
from kbtf_ci.btf.usable.kfuncs import unusable_in
from kbtf_ci.errors import UsageError
from kbtf_ci.model.usable import Unusable
from kbtf_ci.objfile.files import KernelFile, OpenKernel

_OTHER_ORDER = {"little": "big", "big": "little"}


def require_base(file: KernelFile) -> None:
    """Raise UsageError for BTF that can be no vmlinux's, or none of a kernel that runs on this machine."""
    if file.btf[:2] == SWAPPED_MAGIC:
        raise UsageError(
            f"{file.path}: its BTF is {_OTHER_ORDER[sys.byteorder]}-endian, and this machine "
            f"{sys.byteorder}-endian: only kernels of its own byte order are judged",
            hint="run kbtf-ci check on a machine of that kernel's byte order",
        )
    if file.kind == "raw" and _is_split(file.btf):
        raise UsageError(
            f"{file.path}: split BTF, which is a module's and not vmlinux's",
            hint="name it as a module, and with --vmlinux the base: vmlinux, or /sys/kernel/btf/vmlinux",
        )


def rules_of(file: KernelFile, version: Version) -> Rules:
    """Return the rules by which a kernel checks BTF: its own BTF's word, and its version's for the rest.

    Of BTF that cannot be read, as where vmlinux is damaged, the version's alone.
    """
    rules = Rules.for_version(version)
    try:
        return read_off(Btf.parse(file.btf), rules)
    except BtfError:
        return rules


def require_split_btf(version: Version, source: str) -> None:
    """Raise UsageError for a version without split BTF; ``source`` is what named it."""
    if is_too_old(version):
        shown, first = (".".join(map(str, one)) for one in (version, FIRST))
        raise UsageError(
            f"{source}: Linux {shown} knows no split BTF, which came with {first}",
            hint="where a distribution brought it to an older kernel, --kernel-version says of which version "
            "its kernel/bpf/btf.c is",
        )


def _is_split(btf: bytes) -> bool:
    """Whether the strings lack the empty one at their start, which every base has (btf_parse_str_sec())."""
    if len(btf) < HEADER_BYTES:
        return False
    header = Header.unpack(btf, HEADER_BYTES)
    strings = header.strings(btf)
    return strings[:1] not in (b"", b"\0") and strings[-1:] == b"\0" and header.type_len > 0


def unusable_of(kernel: OpenKernel, version: Version) -> tuple[Unusable, ...]:
    """Return vmlinux's own kfuncs that no BPF program can call, as far as the file tells."""
    if kernel.vmlinux is None:
        return ()
    try:
        return unusable_in(kernel.vmlinux, Btf.parse(kernel.file.btf), version)
    except (BtfError, UsageError):  # a vmlinux that is damaged is told of elsewhere
        return ()
