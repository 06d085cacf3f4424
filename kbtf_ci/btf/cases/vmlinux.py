# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""vmlinux's own BTF altered in the image: then it is no module's fault, whatever the log says of modules."""

from __future__ import annotations

import struct
from typing import Final

from kbtf_ci.btf.cases.case import (
    Altered,
    AlteredVmlinux,
    Case,
    Healthy,
    NotThereError,
    Said,
    of_member,
    plain,
    refused,
    taken,
    with_vmlinux_altered,
)
from kbtf_ci.btf.cases.edit import INFO, NAME, TAIL, THIRD, Draft, info, patched
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.model.case import Expectation, Need

_ENTRY: Final = 3  # words of a member (name, type, offset) and of a DATASEC's entry (type, offset, size)


def _in_place(healthy: Healthy, changes: dict[int, int]) -> Altered:
    """Return vmlinux's BTF with other words, each by its index in the type section."""
    header, data = healthy.vmlinux.header, healthy.vmlinux_data
    for word, value in changes.items():
        start = header.hdr_len + header.type_off
        data = patched(data, start + 4 * word, struct.pack(f"{header.order}I", value))
    return AlteredVmlinux(data)


def _unknown_kind(healthy: Healthy) -> Altered:
    draft = Draft(healthy.vmlinux)
    return _in_place(healthy, {draft.find(Kind.STRUCT, vlen=1) + INFO: info(31)})


def _members_swapped(healthy: Healthy) -> Altered:
    words = Draft(healthy.vmlinux).words
    start = Draft(healthy.vmlinux).find(
        Kind.STRUCT, vlen=2, suits=lambda start: words[start + TAIL + _ENTRY + 2] > 0
    )
    first, second = start + TAIL + 2, start + TAIL + _ENTRY + 2
    return _in_place(healthy, {first: words[second], second: words[first]})


def _one_offset(healthy: Healthy) -> Altered:
    draft = Draft(healthy.vmlinux)
    start = draft.find(Kind.DATASEC, vlen=2)
    first, second = start + TAIL + 1, start + TAIL + _ENTRY + 1
    return _in_place(healthy, {second: draft.words[first]})


def _a_type(healthy: Healthy) -> Altered:
    """Overwrite the three words that a type begins with, as whoever writes there knows nothing of types."""
    start = Draft(healthy.vmlinux).find(Kind.STRUCT, vlen=1)
    return _in_place(healthy, {start + NAME: 0, start + INFO: 0, start + THIRD: 0})


def _a_letter(healthy: Healthy) -> Altered:
    """Change the last letter of a name: one that is an identifier still, and no string of the module's."""
    name = b"\0task_struct\0"
    at = healthy.vmlinux_data.rfind(name)
    if at < 0:
        raise NotThereError("vmlinux's BTF has no task_struct")
    return AlteredVmlinux(patched(healthy.vmlinux_data, at + len(name) - 2, b"X"))


def _all_refused(said: Said) -> Expectation:
    """Return the expectation of any module over a vmlinux of which the kernel says this, once, at boot."""
    every = Said(said.lines, said.lines)  # it has no base, so nothing keeps the kernel from saying it
    return with_vmlinux_altered(refused(every))


_ALTERABLE: Final = frozenset({Need.ALTERABLE})

CASES: Final = (
    Case(
        name="vmlinux-kind-unknown",
        failure_class=8,
        title="vmlinux's BTF has a type of kind 31",
        story="A pahole that is too new for the kernel wrote a kind that it does not know. The reason is "
        "told once, at boot; every module is refused without a word of its own.",
        source="kernel/bpf/btf.c, btf_parse_vmlinux(), btf_check_meta()",
        expected=_all_refused(plain("[<number>] Invalid kind:31")),
        make=_unknown_kind,
        needs=_ALTERABLE,
    ),
    Case(
        name="vmlinux-members-out-of-order",
        failure_class=13,
        title="two members of one of vmlinux's structs have changed places",
        story="Rust in vmlinux, and a pahole before 1.24 that wrote its fields as they came: all modules "
        "fail, C ones too.",
        source="kernel/bpf/btf.c, btf_parse_vmlinux(), btf_struct_check_meta()",
        expected=_all_refused(of_member("Invalid member bits_offset")),
        make=_members_swapped,
        needs=_ALTERABLE,
    ),
    Case(
        name="vmlinux-two-at-one-offset",
        failure_class=26,
        title="two variables of .data..percpu lie at one offset in vmlinux's BTF",
        story="clang's GlobalMerge, or CONFIG_GENDWARFKSYMS with pahole 1.28 or 1.29 (9520a2b3f0b5). One "
        "record at boot, then every module is refused, and kfuncs cannot be registered.",
        source="kernel/bpf/btf.c, btf_parse_vmlinux(), btf_datasec_check_meta()",
        expected=_all_refused(
            Said(
                (
                    "BPF: \t type_id=<number> offset=<number> size=<number>",
                    "BPF:  ",
                    "BPF: Invalid offset",
                    "BPF: ",
                )
            )
        ),
        make=_one_offset,
        needs=_ALTERABLE,
    ),
    Case(
        name="vmlinux-overwritten-in-memory",
        failure_class=27,
        title="a type of vmlinux's BTF was overwritten with zeros in memory",
        story="Firmware or a boot loader wrote into the loaded image, a device tree say, and hit the types: "
        "one line at boot, and all modules are refused. It comes and goes between boots of one image.",
        source="kernel/bpf/btf.c, btf_parse_vmlinux(), btf_check_meta()",
        expected=_all_refused(plain("[<number>] Invalid kind:0")),
        make=_a_type,
        needs=_ALTERABLE,
    ),
    Case(
        name="vmlinux-changed-in-memory",
        failure_class=27,
        title="a byte of vmlinux's BTF is another in memory than in the image",
        story="Firmware or a boot loader wrote into the loaded image, a device tree say. Here it hits a "
        "letter of a name: modules load, and /sys/kernel/btf/vmlinux is not the image's.",
        source="kernel/bpf/sysfs_btf.c shows the section as it lies in memory",
        expected=with_vmlinux_altered(taken()),
        make=_a_letter,
        needs=_ALTERABLE,
    ),
)
