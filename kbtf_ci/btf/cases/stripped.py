# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Sections that packaging took away, and BTF with nothing in it."""

from __future__ import annotations

from typing import Final

from kbtf_ci.btf.cases.case import (
    AlteredBtf,
    Case,
    Healthy,
    always,
    of_type,
    plain,
    refused,
    taken,
)
from kbtf_ci.btf.cases.distilled import INT_DATA
from kbtf_ci.btf.cases.edit import Written, assembled
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.model.case import Expected
from kbtf_ci.model.outcome import Outcome


def _distilled(healthy: Healthy) -> tuple[bytes, bytes]:
    """Return .BTF and .BTF.base of a module whose function has a name that vmlinux's strings spoil.

    Read against vmlinux and not against its base of one type, the name begins on a NUL of vmlinux's strings.
    """
    base = Written()
    base.add(Kind.INT, base.string("int"), 4, INT_DATA)
    split = Written(base.next_id, len(base.strings))
    nul = healthy.vmlinux.strings.data.index(b"\0", split.string_base + 1)
    split.string("x" * (nul - split.string_base - 1))
    split.add(Kind.FUNC, split.string("kbtf_ci_function"), split.add(Kind.FUNC_PROTO))
    order = healthy.vmlinux.order
    return split.bytes(order), base.bytes(order)


CASES: Final = (
    Case(
        name="btf-stripped",
        failure_class=16,
        title="the .BTF section is gone",
        story="rpm's find-debuginfo, llvm-strip --strip-all or an initramfs builder took it away. The "
        "module loads, and neither fentry nor kfuncs of it work.",
        source="kernel/bpf/btf.c, btf_module_notify(): btf_data_size is 0",
        expected=always(Expected(Outcome.NO_BTF)),
        make=lambda _: AlteredBtf(None),
    ),
    Case(
        name="btf-emptied",
        failure_class=16,
        title="the .BTF section is there and empty",
        story="objcopy or pahole ended half-way, on a full disk say, and left the section without bytes.",
        source="kernel/bpf/btf.c, btf_module_notify(): btf_data_size is 0",
        expected=always(Expected(Outcome.NO_BTF)),
        make=lambda _: AlteredBtf(b""),
    ),
    Case(
        name="base-stripped-alone",
        failure_class=12,
        title=".BTF.base is gone and .BTF is not",
        story="A tool that knows .BTF alone took the distilled base of an out-of-tree module: what was "
        "written against a base of some types is read against vmlinux.",
        source="kernel/bpf/btf.c, btf_parse_module() takes vmlinux for the base; btf_func_check_meta()",
        expected=refused(of_type("FUNC", "type_id=<number>", "Invalid name")),
        make=lambda healthy: AlteredBtf(_distilled(healthy)[0]),
    ),
    Case(
        name="base-not-known",
        failure_class=12,
        title="a kernel before 6.11 does not know .BTF.base",
        story="pahole 1.28 wrote a distilled base for a kernel that ignores it: what was written against a "
        "base of some types is read against vmlinux.",
        source="kernel/bpf/btf.c, btf_parse_module(), before 6.11",
        expected=refused(of_type("FUNC", "type_id=<number>", "Invalid name")),
        make=lambda healthy: AlteredBtf(*_distilled(healthy)),
        until=(6, 10),
    ),
    Case(
        name="base-emptied",
        failure_class=12,
        title=".BTF.base is there and empty",
        story="As above, where the section was emptied and not removed: the kernel asks whether it is there.",
        source="kernel/bpf/btf.c, btf_parse_module(), btf_parse_base(); since 6.11",
        expected=refused(plain("hdr_len not found")),
        make=lambda healthy: AlteredBtf(healthy.btf, b""),
        since=(6, 11),
    ),
    Case(
        name="header-only",
        failure_class=28,
        title="BTF of a header and nothing behind it",
        story="A module that adds no type of its own has 24 bytes of BTF. The kernel takes them; libraries "
        "that did not said that the string table is empty.",
        source="kernel/bpf/btf.c, btf_parse_hdr(): 'No data' is for BTF without a base",
        expected=taken(),
        make=lambda healthy: AlteredBtf(assembled([], b"", healthy.vmlinux.order)),
    ),
)
