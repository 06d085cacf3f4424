# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Types of BPF programs for which kfuncs may be registered, one or more for each.

The kernel keeps sets of kfuncs by hook, and a program's type says which hook it has (kernel/bpf/btf.c,
bpf_prog_type_to_kfunc_hook()). A set may be filtered further, by type or by the struct_ops member that a
program is for, so that all of these are tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kbtf_ci.btf.format.lookup import id_of, members_of
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.btf.usable.types import NoPrototypeError, Types
from kbtf_ci.model.kfunc_proof import ProgramKind

# Numbers of enum bpf_prog_type and enum bpf_attach_type, include/uapi/linux/bpf.h.
_SLEEPABLE: Final = 1 << 4  # BPF_F_SLEEPABLE, which programs of type syscall have to be
_PLAIN: Final = (
    ProgramKind("syscall", 31, flags=_SLEEPABLE),
    ProgramKind("xdp", 6),
    ProgramKind("sched_cls", 3),
    ProgramKind("sched_act", 4),
    ProgramKind("socket_filter", 1),
    ProgramKind("sk_skb", 14),
    ProgramKind("cgroup_skb", 8),
    ProgramKind("sock_ops", 13, 3),
    ProgramKind("lwt_in", 10),
    ProgramKind("netfilter", 32, 45),
    ProgramKind("kprobe", 2),
    ProgramKind("kprobe_session", 2, 56),
)
# A function of vmlinux's that such a program is attached to.
_ATTACHED: Final = (
    (ProgramKind("fentry", 26, 24), "vfs_open"),
    (ProgramKind("lsm", 29, 27), "bpf_lsm_file_open"),
    (ProgramKind("iter", 26, 28), "bpf_iter_task"),
)
_STRUCT_OPS: Final = 27
_OF_STRUCT_OPS: Final = "bpf_struct_ops_"


def program_kinds(vmlinux: Btf) -> tuple[ProgramKind, ...]:
    """Return all that this kernel may have, the likely ones first."""
    return (*_PLAIN, *_attached(vmlinux), *_struct_ops(vmlinux))


def _attached(vmlinux: Btf) -> Iterator[ProgramKind]:
    for kind, function in _ATTACHED:
        type_id = id_of(vmlinux, function, Kind.FUNC)
        if type_id is not None:
            yield ProgramKind(kind.name, kind.program_type, kind.attach_type, kind.flags, type_id)


def _struct_ops(vmlinux: Btf) -> Iterator[ProgramKind]:
    """Yield one a member that is a function: a program's attach type is the member's number.

    For each struct that programs may implement there is another one of its name behind a prefix
    (kernel/bpf/bpf_struct_ops.c, VALUE_PREFIX; verifier.c, check_struct_ops_btf_id()).
    """
    types = Types(vmlinux)
    for value in sorted(set(vmlinux.own_names(Kind.STRUCT))):
        name = value.removeprefix(_OF_STRUCT_OPS)
        type_id = id_of(vmlinux, name, Kind.STRUCT) if name != value else None
        if type_id is None:
            continue
        for number, (member, member_type) in enumerate(members_of(vmlinux, name)):
            if _is_function(types, member_type):
                yield ProgramKind(f"struct_ops/{name}.{member}", _STRUCT_OPS, number, 0, type_id)


def _is_function(types: Types, type_id: int) -> bool:
    """Return whether a member points to a function."""
    try:
        _, kind, pointed = types.plain(type_id)
    except NoPrototypeError:
        return False
    return kind is Kind.PTR and types.kind(pointed) is Kind.FUNC_PROTO
