# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Whether what is named as the kernel can be judged by at all: what speaks against it is the user's to mend.

A kernel that would itself refuse the BTF of its vmlinux is another matter, and no error: it is a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kbtf_ci.btf.format.header import Header, magic_order
from kbtf_ci.btf.format.reader import Btf, BtfError, NewerKindError
from kbtf_ci.btf.format.wire import HEADER_BYTES, MAX_KIND, Kind, told_kind
from kbtf_ci.btf.rules.features import read_kinds, read_off
from kbtf_ci.btf.rules.versions import FIRST, LAST, Rules, is_too_old
from kbtf_ci.btf.usable.kfuncs import unusable_in
from kbtf_ci.errors import UsageError
from kbtf_ci.model.usable import Unusable
from kbtf_ci.model.version import Version
from kbtf_ci.objfile.files import KernelFile, OpenKernel


def require_base(file: KernelFile) -> None:
    """Raise UsageError for BTF that can be no vmlinux's."""
    if file.kind == "raw" and _is_split(file.btf):
        raise UsageError(
            f"{file.path}: split BTF, which is a module's and not vmlinux's",
            hint="name it as a module, and with --vmlinux the base: vmlinux, or /sys/kernel/btf/vmlinux",
        )


@dataclass(frozen=True)
class JudgedBy:
    """The rules of a kernel, and what of its own BTF is of kinds that came after those known here.

    ``newer`` is a sentence on the first such type, "" as a rule. ``stepped_over``: its layout section says
    how long they are, so that all the rest was read.
    """

    rules: Rules
    newer: str = ""
    stepped_over: bool = False


def rules_of(file: KernelFile, version: Version) -> Rules:
    """Return what judged_by() does, the rules alone."""
    return judged_by(file, version).rules


def judged_by(file: KernelFile, version: Version) -> JudgedBy:
    """Return the rules by which a kernel checks BTF: its own BTF's word, and its version's for the rest.

    Of BTF that cannot be read, as where vmlinux is damaged, the version's alone; of BTF that ends for us at a
    kind that is not known here the version's, and whether the kernel knows it.
    """
    rules = Rules.for_version(version)
    try:
        btf = Btf.parse(file.btf)
    except NewerKindError as error:
        return JudgedBy(_with_kinds(file, rules), str(error))
    except BtfError:
        return JudgedBy(rules)
    return JudgedBy(read_off(btf, rules), _stepped_over(btf), stepped_over=True)


def _with_kinds(file: KernelFile, rules: Rules) -> Rules:
    start = Btf.beginning(file.btf)
    told = read_kinds(start, rules) if start is not None else rules
    # A kernel that is newer than the last whose checks are known may know any.
    return replace(told, newest_kind=MAX_KIND) if not told.newest_kind and told.version > LAST else told


def _stepped_over(btf: Btf) -> str:
    newer = np.flatnonzero(btf.records.kind > max(Kind))
    if not len(newer):
        return ""
    first = int(newer[0])
    more = f" and {len(newer) - 1:,} more of such kinds" if len(newer) > 1 else ""
    kind = told_kind(int(btf.records.kind[first]))
    return f"BTF type [{btf.start_id + first}]: {kind}{more}, not known to kbtf-ci: stepped over, not judged"


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
    order = magic_order(btf)
    if len(btf) < HEADER_BYTES or order is None:
        return False
    header = Header.unpack(btf, HEADER_BYTES, order)
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
