# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which BTF a group of ``BPF:`` lines is about."""

from __future__ import annotations

import io

from kbtf_ci.symptoms.evidence import Evidence, gather, spans
from kbtf_ci.symptoms.lines import joined, log_lines


def seen(text: str) -> Evidence:
    return gather(joined(log_lines(io.BytesIO(text.encode()), "log"), spans))


def records(time: float, header: str, *rest: str) -> str:
    lines = (f"BPF: {text}" for text in (header, *rest))
    return "".join(f"[{time + i / 1e6:12.6f}] {line}\n" for i, line in enumerate(lines))


def refused(time: float, module: str, errno: int = -22) -> str:
    return f"[{time:12.6f}] failed to validate module [{module}] BTF: {errno}\n"


EMPTY_NAME = ("[103111] FUNC  ", "type_id=9", " ", "Invalid name", "")
MEMBER = ("\twidth type_id=54975 bits_offset=0", " ", "Invalid member bits_offset", "")
VARIABLE = ("\t type_id=70136 offset=224704 size=960", " ", "Invalid offset", "")


def test_records_right_before_a_module_are_its_own() -> None:
    evidence = seen(
        records(5, *EMPTY_NAME) + refused(5.00001, "a") + records(6, *MEMBER) + refused(6.00001, "b")
    )
    first, second = evidence.refused
    assert (first.module, first.errno) == ("a", 22)
    assert first.group is not None
    assert first.group.rules == ("func.name",)
    assert (first.group.type_id, first.group.name) == (103111, "")
    assert second.group is not None
    assert (second.group.rules, second.group.name) == (("member.in_union", "member.order"), "width")
    assert evidence.boots[0].vmlinux is None


def test_records_early_in_a_boot_are_vmlinuxs_when_no_module_has_any() -> None:
    evidence = seen(records(0.9, *VARIABLE) + refused(3, "a") + refused(3.1, "b"))
    boot = evidence.boots[0]
    assert boot.vmlinux is not None
    assert boot.vmlinux.rules == ("datasec.var_offset",)
    assert boot.vmlinux_sure
    assert [one.group for one in boot.refused] == [None, None]


def test_before_5_16_they_stand_right_before_the_first_module() -> None:
    text = records(3, *MEMBER) + refused(3.00001, "a") + refused(3.1, "b") + refused(3.2, "c")
    boot = seen(text).boots[0]
    assert boot.vmlinux is not None
    assert boot.refused[0].group is None


def test_a_module_with_records_of_its_own_speaks_for_vmlinux() -> None:
    boot = seen(records(0.9, *MEMBER) + records(3, *EMPTY_NAME) + refused(3.00001, "a")).boots[0]
    assert boot.vmlinux is None
    assert boot.refused[0].group is not None


def test_each_boot_is_judged_by_itself() -> None:
    banner = "[    0.000000] Linux version 6.12.1 (x) #1 SMP\n"
    text = (
        banner
        + records(0.9, *MEMBER)
        + refused(3, "a")
        + banner
        + records(2, *EMPTY_NAME)
        + refused(2.00001, "b")
    )
    first, second = seen(text).boots
    assert first.vmlinux is not None
    assert second.vmlinux is None
    assert second.refused[0].group is not None


def test_records_of_loads_side_by_side_find_their_modules() -> None:
    text = records(5, *EMPTY_NAME) + records(5.0001, *MEMBER) + refused(5.0002, "a") + refused(5.0003, "b")
    assert [one.group is not None for one in seen(text).refused] == [True, True]


def test_without_time_the_lines_between_decide() -> None:
    near = "BPF: [5] FUNC \nBPF: Invalid name\nBPF: \nfailed to validate module [a] BTF: -22\n"
    far = "BPF: [5] FUNC \nBPF: Invalid name\n" + "x\n" * 20 + "failed to validate module [a] BTF: -22\n"
    assert seen(near).refused[0].group is not None
    assert seen(far).boots[0].vmlinux is not None


def test_what_is_quoted_again_counts_once() -> None:
    text = f"I get failed to validate module [a] BTF: -22\n\n{records(5, *EMPTY_NAME)}{refused(5.0001, 'a')}"
    (one,) = seen(text).refused
    assert one.times == 2
    assert one.group is not None


def test_a_module_that_speaks_was_loaded() -> None:
    text = records(5, *EMPTY_NAME) + refused(5.00001, "e1000") + "[    5.000100] e1000: Intel(R) PRO/1000\n"
    assert seen(text).refused[0].loaded
    failed = records(5, *EMPTY_NAME) + refused(5.00001, "e1000") + "[    5.000100] e1000: failed to load\n"
    assert not seen(failed).refused[0].loaded


def test_cut_records_are_kept() -> None:
    (one,) = seen("[    5.000001] BPF: [110133] STRUCT ask\n" + refused(5.00001, "a")).refused
    assert one.group is not None
    assert not one.group.complete


def test_lines_whose_ends_were_lost_are_taken_apart() -> None:
    records = "it says BPF:[103111] STRUCT BPF:size=152 vlen=2 BPF: BPF:Invalid name BPF: "
    text = f"{records}failed to validate module [ask] BTF: -22"
    (one,) = seen(text).refused
    assert (one.module, one.errno) == ("ask", 22)
    assert one.group is not None
    assert (one.group.rules, one.group.type_id, one.group.name) == (("struct.name",), 103111, "")
    assert len(one.lines) == 2


def test_ebpf_is_no_record() -> None:
    assert not seen("eBPF: Invalid name\nlibBPF:x\n").boots


def test_the_base_is_said_without_bpf() -> None:
    text = "[    7.000001] distilled base BTF type 'mutex' [5] is not mapped to base BTF id\n" + refused(
        7.00001, "mts"
    )
    (one,) = seen(text).refused
    assert [found.value("name") for _, found in one.relocation] == ["mutex"]


def test_the_kernels_version_is_found() -> None:
    assert seen("[    0.000000] Linux version 6.12.107+deb13-amd64 (x)\n").version == (6, 12)
    assert seen("Linux host 5.15.0-52-generic #58-Ubuntu SMP\n").version == (5, 15)
    assert seen("make -C /lib/modules/6.1.0-11-amd64/build\n").version == (6, 1)
    assert seen("no kernel\n").version is None


def test_a_variables_type_is_told_from_a_members() -> None:
    (group,) = [seen(records(0.9, VARIABLE[0], " ", "Invalid type_id")).boots[0].vmlinux]
    assert group is not None
    assert group.rules == ("datasec.var_type",)
    (one,) = seen(records(5, MEMBER[0], " ", "Invalid type_id") + refused(5.00001, "a")).refused
    assert one.group is not None
    assert one.group.rules == ("member.type",)


def test_a_registration_that_fails_before_any_module_speaks_for_vmlinux() -> None:
    registration = "[    {}.500000] sched_ext: Failed to register kfunc sets (-22)\n"
    before = seen(registration.format(0) + refused(2, "a")).boots[0]
    assert before.vmlinux is not None
    assert not before.vmlinux.complete
    assert seen(refused(2, "a") + registration.format(3)).boots[0].vmlinux is None
    own = seen(registration.format(0) + records(2, *EMPTY_NAME) + refused(2.00001, "a")).boots[0]
    assert own.vmlinux is None
    assert not seen(registration.format(0)).boots


def test_what_was_quoted_in_prose_is_no_vmlinuxs() -> None:
    boot = seen("it prints `BPF: Invalid name` all the time\n").boots[0]
    assert boot.vmlinux is None
    assert [(group.words, group.in_prose) for group in boot.groups] == [("Invalid name", True)]


def test_no_more_is_kept_than_needed() -> None:
    text = "".join(records(i, *EMPTY_NAME) + refused(i + 0.00001, f"m{i}") for i in range(500))
    evidence = seen(text)
    assert len(evidence.refused) == 400
    assert evidence.seen["btf.refused"].times == 500
    assert len(evidence.seen["btf.refused"].lines) == 8


def test_records_sorted_away_from_their_modules_are_theirs_all_the_same() -> None:
    errors = records(5, *EMPTY_NAME) + records(6, *MEMBER)
    boot = seen(errors + "x\n" * 50 + refused(5.00001, "a") + refused(6.00001, "b")).boots[0]
    assert boot.vmlinux is None
    assert [one.group.words if one.group else "" for one in boot.refused] == [
        "Invalid name",
        "Invalid member bits_offset",
    ]


def test_vmlinuxs_records_quoted_twice_are_vmlinuxs() -> None:
    lines = "".join(f"BPF: {record}\n" for record in VARIABLE)
    boot = seen(f"{lines}x\n\n{lines}\n\n\n\n\nfailed to validate module [a] BTF: -22\n").boots[0]
    assert boot.vmlinux is not None


def test_a_table_is_read() -> None:
    text = "| BPF: [5] FUNC  |\n| BPF: Invalid name |\n| failed to validate module [a] BTF: -22 |\n"
    (one,) = seen(text).refused
    assert one.group is not None
    assert (one.group.kind, one.group.words, one.errno) == ("FUNC", "Invalid name", 22)
