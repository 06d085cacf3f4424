# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the kernel will say of a module's BTF (kernel/bpf/btf.c, btf_module_notify())."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.format.header import Header, magic_order
from kbtf_ci.btf.format.reader import Btf, newer_kind
from kbtf_ci.btf.format.records import End, KindSizes, walk
from kbtf_ci.btf.rules import chains, header, metas, relocate
from kbtf_ci.btf.rules.header import check_header
from kbtf_ci.btf.rules.rejection import NewerKindError, Rejection
from kbtf_ci.btf.rules.rows import CheckContext
from kbtf_ci.btf.rules.versions import Rules
from kbtf_ci.model.architecture import ByteOrder

RULES: Final = (*header.RULES, *metas.RULES, *chains.RULES, *relocate.RULES, "vmlinux.missing")


@dataclass(frozen=True)
class Verdict:
    """What comes of one module's BTF.

    ``errno`` is what init_module(2) returns for it, positive, 0 where the load goes on; ``refused`` the
    errno of the BTF itself, which CONFIG_MODULE_ALLOW_BTF_MISMATCH keeps from the load. ``rule`` is the
    check that decided, "" when all passed. ``log`` are the kernel's lines in order, without time stamps.
    ``sysfs`` are the bytes that ``/sys/kernel/btf/<name>`` will have, None where there will be no such file.
    ``unchecked`` says which id, never checked, the kernel would follow while it relocates: it may well oops,
    and nothing else is predicted then. "" as a rule. ``btf`` is the BTF as the kernel will use it, moved to
    vmlinux's where it had a base of its own; None where it is refused. ``newer`` names a type of a kind that
    the kernel knows and whose checks are not known here: no verdict then, the other fields say nothing. ""
    as a rule.
    """

    errno: int
    refused: int
    rule: str
    log: tuple[str, ...]
    sysfs: bytes | None
    unchecked: str = ""
    btf: Btf | None = None
    newer: str = ""


@dataclass(frozen=True)
class Kernel:
    """A kernel as far as it judges modules' BTF. Make it with ``open``.

    ``order`` is its byte order, in which all that it reads must be. ``newer`` says which type of vmlinux is
    of a kind that is not known here, so that nothing is judged.
    """

    rules: Rules
    allow_mismatch: bool
    vmlinux: Btf | None
    rejection: Rejection | None
    distillable: relocate.Base | None
    order: ByteOrder
    newer: str = ""

    @classmethod
    def open(
        cls, vmlinux: bytes, rules: Rules, *, allow_mismatch: bool = False, order: ByteOrder | None = None
    ) -> Kernel:
        """Return the kernel with this ``.BTF`` of vmlinux, which is held to the kernel's checks first.

        Where they refuse it, every module is refused with the same errno (btf_parse_vmlinux()). Without
        ``order`` the BTF's magic tells the kernel's byte order.
        """
        order = order or magic_order(vmlinux) or "<"
        try:
            btf = parse(vmlinux, rules, None, order, is_vmlinux=True)
        except NewerKindError as error:
            told = f"vmlinux's {newer_kind(error.type_id, error.kind)}"
            return cls(rules, allow_mismatch, None, None, None, order, told)
        except Rejection as rejection:
            return cls(rules, allow_mismatch, None, rejection, None, order)
        return cls(rules, allow_mismatch, btf, None, relocate.Base(btf), order)


def check(kernel: Kernel, name: str, btf: bytes | None, base: bytes | None = None) -> Verdict:
    """Return what ``kernel`` says of a module with this ``.BTF`` and ``.BTF.base`` (None: no section)."""
    if not btf:
        return Verdict(0, 0, "", (), None)
    if kernel.newer:
        return _not_judged(kernel.newer)
    try:
        data, parsed = _parse_module(kernel, btf, base)
        return Verdict(0, 0, "", (), data, btf=parsed)
    except Rejection as rejection:
        number = 0 if kernel.allow_mismatch else rejection.errno
        return Verdict(number, rejection.errno, rejection.rule, tuple(_log(kernel, name, rejection)), None)
    except relocate.UncheckedError as error:
        return Verdict(0, 0, "relocate.unchecked", (), None, str(error))
    except NewerKindError as error:
        return _not_judged(newer_kind(error.type_id, error.kind))


def _not_judged(newer: str) -> Verdict:
    return Verdict(0, 0, "kind.newer", (), None, newer=newer)


def parse(data: bytes, rules: Rules, base: Btf | None, order: ByteOrder, *, is_vmlinux: bool = False) -> Btf:
    """Return BTF that passes all checks but relocation, or raise Rejection; ``order`` is the kernel's.

    Raises NewerKindError for a kind that this kernel knows and whose checks are not known here; vmlinux's
    are stepped over where its layout section says how long they are, as that kernel has accepted them.
    """
    head = check_header(data, rules.header_bytes, order, has_base=base is not None)
    newer = _newer_sizes(head, data, rules) if is_vmlinux else {}
    records = walk(head.types(data), order, rules.layout, rules.last_kind, newer=newer)
    btf = Btf.of(head, data, records, base, _start_id(base))
    try:
        metas.check_metas(CheckContext(records, btf.names, btf.start_id if base else 1, rules))
        chains.check_chains(btf, rules)
    except Rejection as rejection:
        rejection.of_type &= base is not None
        kind = int(records.kind[-1]) if records.end is End.KIND else 0
        if rejection.rule == "type.kind" and 0 < kind <= rules.newest_kind:
            raise NewerKindError(btf.nr_types - 1, kind) from None
        raise
    return btf


def _newer_sizes(head: Header, data: bytes, rules: Rules) -> KindSizes:
    """Return the sizes of the kinds that the kernel knows and that are not known here."""
    sizes = head.layout(data)
    return {kind: sizes[kind] for kind in sizes if rules.last_kind < kind <= rules.newest_kind}


def _start_id(base: Btf | None) -> int:
    """btf_add_type() adds void together with the first type: a base without types has no id at all."""
    if base is None:
        return 1
    return base.nr_types if len(base.records) else 0


def _parse_module(kernel: Kernel, data: bytes, distilled: bytes | None) -> tuple[bytes, Btf]:
    """Return what sysfs will show, and the same parsed."""
    if kernel.vmlinux is None or kernel.distillable is None:
        raise Rejection("vmlinux.missing", (), kernel.rejection.errno if kernel.rejection else errno.EINVAL)
    if distilled is None or not kernel.rules.relocates:
        return data, parse(data, kernel.rules, kernel.vmlinux, kernel.order)
    base = parse(distilled, kernel.rules, None, kernel.order)
    moved = relocate.relocate(parse(data, kernel.rules, base, kernel.order), data, kernel.distillable)
    # What was moved is not checked again, by the kernel neither: ids and names are as they are now.
    header = Header.unpack(moved, kernel.rules.header_bytes, kernel.order)
    records = walk(header.types(moved), kernel.order, kernel.rules.layout, kernel.rules.last_kind)
    return moved, Btf.of(header, moved, records, kernel.vmlinux)


def _log(kernel: Kernel, name: str, rejection: Rejection) -> Iterator[str]:
    rules = kernel.rules
    quiet = kernel.allow_mismatch and rules.quiet_mismatch
    records = [] if quiet and rejection.of_type else list(rejection.records)
    if not quiet:
        records.append(b"failed to validate module [%s] BTF: %d" % (name.encode(), -rejection.errno))
    for text in records:
        kept = text[: rules.record_bytes].removesuffix(b"\n")
        yield from kept.decode(errors="replace").split("\n")
