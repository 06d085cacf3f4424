# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What struct module says: its size by another configuration, and a name that is vmlinux's."""

from __future__ import annotations

from typing import Final

from kbtf_ci.btf.cases.case import EINVAL, ENOEXEC, Altered, AlteredBtf, Case, Healthy, always
from kbtf_ci.model.case import Expected, Need
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.objfile.elf import ElfImage

_THIS_MODULE: Final = ".gnu.linkonce.this_module"
_CACHE_LINE: Final = 64  # what struct module is rounded up to on x86


def _smaller(healthy: Healthy) -> Altered:
    section = ElfImage(healthy.file).find(_THIS_MODULE)
    size = section.size if section else 0
    return AlteredBtf(healthy.btf, struct_bytes=size - _CACHE_LINE)


def _named_vmlinux(healthy: Healthy) -> Altered:
    return AlteredBtf(healthy.btf, name="vmlinux")


CASES: Final = (
    Case(
        name="struct-module-smaller",
        failure_class=9,
        title="struct module is a cache line smaller than the kernel's",
        story="No pahole where the module was built: Kconfig dropped CONFIG_DEBUG_INFO_BTF_MODULES, and "
        "struct module lost its members for BTF. insmod says 'Invalid module format'.",
        source="kernel/module/main.c, since 6.4 ('add stop-grap sanity check on module memcpy()')",
        expected=always(
            Expected(
                Outcome.LOAD_FAILED,
                ENOEXEC,
                (
                    f"module <module>: {_THIS_MODULE} section size must match the kernel's built struct "
                    "module size at run time",
                ),
            )
        ),
        make=_smaller,
        since=(6, 4),
    ),
    Case(
        name="module-named-vmlinux",
        failure_class=19,
        title="a module goes by the name vmlinux",
        story="Its file below /sys/kernel/btf would be vmlinux's own. The kernel complains with a stack "
        "trace and loads it: its BTF is active, and not to be seen.",
        source="kernel/bpf/btf.c, btf_module_notify(); fs/sysfs/dir.c, sysfs_warn_dup()",
        expected=always(
            Expected(
                Outcome.MISMATCH,
                log=(
                    "sysfs: cannot create duplicate filename '/kernel/btf/vmlinux'",
                    "failed to register module [vmlinux] BTF in sysfs: -17",
                ),
                sysfs=True,
            )
        ),
        make=_named_vmlinux,
        needs=frozenset({Need.NO_LIVEPATCH}),
    ),
    Case(
        name="module-named-vmlinux-livepatch",
        failure_class=19,
        title="a module goes by the name vmlinux on a kernel with live patches",
        story="There the name means the kernel itself: the module is refused before its BTF is looked at.",
        source="kernel/livepatch/core.c, klp_module_coming(), which comes before the notifiers",
        expected=always(
            Expected(Outcome.LOAD_FAILED, EINVAL, ("livepatch: vmlinux.ko: invalid module name",), sysfs=True)
        ),
        make=_named_vmlinux,
        needs=frozenset({Need.LIVEPATCH}),
    ),
)
