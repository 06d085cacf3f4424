# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What comes of texts in the form of real reports, and of the lines that decide."""

from __future__ import annotations

import io

import pytest

from kbtf_ci.model.symptom import Conclusion, Diagnosis, Likelihood
from kbtf_ci.symptoms.evidence import gather, spans
from kbtf_ci.symptoms.judge import judge
from kbtf_ci.symptoms.lines import joined, log_lines
from tests.support.reports import CASES, NEGATIVES

EXPLAINED, IN_DOUBT = Conclusion.EXPLAINED, Conclusion.IN_DOUBT
NOT_SHOWN, NO_LOG = Conclusion.NOT_SHOWN, Conclusion.NO_LOG


def diagnosed(text: str) -> Diagnosis:
    lines = list(joined(log_lines(io.BytesIO(text.encode()), "log"), spans))
    return judge(gather(lines), max((line.boot for line in lines), default=0))


def classes(found: Diagnosis) -> list[int]:
    return [cause.number for cause in found.causes]


@pytest.mark.parametrize("name", CASES)
def test_a_report_is_explained(name: str) -> None:
    case = CASES[name]
    found = diagnosed(case.text)
    assert found.conclusion is case.conclusion, found
    assert classes(found)[0] == case.first, classes(found)
    assert set(case.among) <= set(classes(found))
    if case.module:
        assert found.refusals[0].module == case.module
    if case.check:
        assert case.check in found.refusals[0].checks
    assert found.causes[0].why
    assert found.causes[0].lines


@pytest.mark.parametrize("name", NEGATIVES)
def test_what_is_not_btfs_is_said_to_be_none(name: str) -> None:
    found = diagnosed(NEGATIVES[name])
    assert found.conclusion is NOT_SHOWN, found
    assert found.summary == "Nothing here shows BTF at fault"
    assert all(cause.number in (5, 9, 10) for cause in found.causes)


def test_prose_is_no_log() -> None:
    found = diagnosed("My laptop is slow since yesterday. Please help.\n")
    assert found.conclusion is NO_LOG
    assert "dmesg" in found.missing[0]


def test_what_is_not_btfs_is_explained() -> None:
    texts = [one.text for one in diagnosed(NEGATIVES["another version"]).elsewhere]
    assert "the module was built for another kernel" in texts
    assert any("'Exec format error' is the module loader's" in text for text in texts)
    (skipped,) = diagnosed(NEGATIVES["a build without vmlinux, and a driver that finds no hardware"]).causes
    assert (skipped.number, skipped.likelihood) == (5, Likelihood.HARMLESS)


def test_consequences_are_told_from_causes() -> None:
    found = diagnosed(CASES["vmlinux of Rust's, seen before any module"].text)
    texts = [one.text for one in found.consequences]
    assert "every module's refusal follows from vmlinux's" in texts
    assert any("emergency mode" in text for text in texts)


def test_a_signature_is_not_blamed() -> None:
    found = diagnosed(CASES["offsets beyond the strings, with a prefix of dmesg -T"].text)
    assert any("no matter of signatures" in one.text for one in found.contradictions)


def test_damage_is_not_blamed_for_shifted_names() -> None:
    text = CASES["two modules of another build, in a GitHub issue"].text
    found = diagnosed(f"{text}\nMy guess is that the files are corrupted on disk.\n")
    assert any("no damage to disk" in one.text for one in found.contradictions)
    assert not diagnosed(text).contradictions


def test_a_short_report_lacks_something() -> None:
    (first, *_) = diagnosed("failed to validate module [xfs] BTF: -22\n").missing
    assert "BPF: lines" in first
    cut = diagnosed(
        "[    9.000001] BPF: [5] STRUCT ask\n[    9.000002] failed to validate module [x_y] BTF: -22\n"
    )
    assert any("cut before the check's own words" in one for one in cut.missing)
    nobody = diagnosed("[    9.000001] BPF: [5] STRUCT ask \n[    9.000002] BPF: Invalid name\n")
    assert any("whether a module is named" in one for one in nobody.missing)


def test_two_causes_that_fit_are_both_said() -> None:
    found = diagnosed(
        "[ 9.100000] failed to validate module [a] BTF: -22\n"
        "[ 9.200000] failed to validate module [b] BTF: -22\n"
    )
    assert found.conclusion is IN_DOUBT
    assert {1, 8} <= {one.number for one in found.causes if one.likelihood is Likelihood.LIKELY}
    assert all(one.tells_apart for one in found.causes)


def test_boots_are_named() -> None:
    banner = "[    0.000000] Linux version 6.12.1 (x) #1 SMP\n"
    healthy = f"{banner}[    2.000000] usb 1-1: new device\n"
    bad = (
        f"{banner}[    2.000001] BPF: Invalid magic\n[    2.000002] failed to validate module [a] BTF: -22\n"
    )
    found = diagnosed(healthy + bad + healthy)
    assert found.boots == 3
    assert found.causes[0].boots == (2,)


def test_vmlinux_is_blamed_only_where_no_module_has_records_of_its_own() -> None:
    text = CASES["two modules of another build, in a GitHub issue"].text
    assert all(one.module != "vmlinux" for one in diagnosed(text).refusals)


def test_what_the_lines_prove_is_shown_and_the_rest_is_likely() -> None:
    shown = {name for name in CASES if diagnosed(CASES[name].text).causes[0].likelihood is Likelihood.SHOWN}
    assert shown == {
        "vmlinux of Rust's, seen before any module",
        "a name of Rust's, 5.15, with the first module",
        "two variables at one offset",
        "vmlinux of a newer pahole",
        "bytes of vmlinux overwritten",
        "vmlinux's records shown after a module's refusal",
        "a distilled base that does not fit",
        "the option hides which",
        "a name that sysfs has",
        "no resolve_btfids",
        "an old pahole over new BTF",
        "a damaged base file",
        "PAHOLE is a script that cannot run",
        "a symbol that is not in BTF",
        "the same, as 5.10 and 5.11 say it",
        "pahole is not there, in a test's log",
        "the encoder killed",
        "resolve_btfids at the end, 7.0",
        "C++ in a module",
        "an old pahole, assembler by a newer binutils",
        "pahole crashed",
    }


def first(text: str) -> tuple[int, Likelihood]:
    found = diagnosed(text)
    return found.causes[0].number, found.causes[0].likelihood


def of_module(*records: str, errno: int = -22) -> str:
    lines = [f"BPF: {record}" for record in records]
    lines.append(f"failed to validate module [m] BTF: {errno}")
    return "".join(f"[    9.{i:06d}] {line}\n" for i, line in enumerate(lines))


def of_vmlinux(*records: str) -> str:
    early = "".join(f"[    0.{i:06d}] BPF: {record}\n" for i, record in enumerate(records))
    return f"{early}[    9.000000] failed to validate module [m] BTF: -22\n"


@pytest.mark.parametrize(
    ("records", "number"),
    [
        (("[5] STRUCT a size=1", "Invalid btf_info kind_flag"), 8),
        (("[5] Invalid btf_info:1000000",), 8),
        (("Total section length too long",), 27),
        (("[5] FUNC asan.module_ctor", "Invalid name"), 14),
        (("[5] FUNC ", "Invalid name"), 27),
        (("[5] STRUCT core::fmt::Arguments", "Invalid name"), 13),
        (("[5] INT int", "Unsupported encoding"), 15),
        (("\twidth type_id=9 bits_offset=64", "Member bits_offset exceeds its struct size"), 15),
        (("[5] DATASEC .data..percpu", "size == 0"), 26),
    ],
)
def test_vmlinuxs_own_btf_is_judged_by_the_check(records: tuple[str, ...], number: int) -> None:
    assert first(of_vmlinux(*records)) == (number, Likelihood.SHOWN)


@pytest.mark.parametrize(
    ("records", "errno", "number"),
    [
        (("No data",), -22, 22),
        (("Unsupported version",), -524, 22),
        (("Invalid string section",), -22, 22),
        (("[5] meta_left:4 meta_needed:12",), -22, 22),
        (("[5] Invalid kind:31",), -22, 21),
        (("[5] TYPE_TAG user", "Invalid btf_info kind_flag"), -22, 21),
        (("[5] STRUCT Vec<u8>", "Invalid name"), -22, 13),
        (("\twidth type_id=9 bits_offset=64", "Invalid member bits_offset"), -22, 15),
        (("\t type_id=9 offset=8 size=8", "Invalid offset"), -22, 26),
        (("Type tags don't precede modifiers",), -22, 1),
        (("[5] INT int", "nr_bits exceeds type_size"), -22, 22),
        (("Loop detected",), -22, 15),
        (("Max chain length or cycle detected",), -40, 2),
        (("[5] ENUM good_name", "Invalid name"), -22, 1),
        (("[5] ENUM  ", "Invalid name"), -22, 1),
    ],
)
def test_a_modules_btf_is_judged_by_the_check(records: tuple[str, ...], errno: int, number: int) -> None:
    assert first(of_module(*records, errno=errno)) == (number, Likelihood.LIKELY)


def test_header_only_btf_was_refused_by_the_first_kernels_alone() -> None:
    assert first(f"Linux version 5.11.0-rc2 (x)\n{of_module('No data')}")[0] == 28
    assert first(f"Linux version 6.11.0 (x)\n{of_module('No data')}")[0] == 22


@pytest.mark.parametrize(("errno", "number"), [(-40, 2), (-7, 21), (-2, 11), (-524, 22)])
def test_some_errnos_alone_name_the_check(errno: int, number: int) -> None:
    text = f"[    9.000001] failed to validate module [m] BTF: {errno}\n"
    assert first(text) == (number, Likelihood.LIKELY)


def test_a_lone_errno_of_22_is_left_in_doubt() -> None:
    found = diagnosed("[    9.000001] failed to validate module [m] BTF: -22\n")
    assert (found.conclusion, classes(found)) == (IN_DOUBT, [1, 4, 15])
    outside = diagnosed("[    9.000001] failed to validate module [vboxdrv] BTF: -22\n")
    assert classes(outside) == [4, 1, 15]


def test_an_ambiguous_base_is_told_from_one_that_lacks_a_type() -> None:
    ambiguous = (
        "distilled base BTF type 'd_partition' [3], size 8 has multiple candidates of the same size "
        "(ids [7, 9]) in base BTF\nfailed to validate module [m] BTF: -22\n"
    )
    lacking = "distilled base BTF type 'gone' [3] is not mapped to base BTF id\n"
    assert "several of vmlinux's types" in diagnosed(ambiguous).causes[0].why[0]
    assert "'gone'" in diagnosed(f"{lacking}failed to validate module [m] BTF: -22\n").causes[0].why[0]


def test_where_a_mismatch_is_allowed_some_records_are_printed_all_the_same() -> None:
    found = diagnosed(
        "[ 9.000001] BPF: [129365] Invalid name_offset:2322721\n"
        "[ 9.000002] Kernel module BTF mismatch detected, BTF debug info may be unavailable for\n"
        "some modules\n"
        "[   20.000000] docker[1]: failed to start\n"
    )
    assert {1, 23} <= set(classes(found))
    (refusal,) = found.refusals
    assert (refusal.module, refusal.loaded, refusal.checks) == ("", True, ("type.name_offset",))


def test_what_fails_beside_a_dropped_btf_does_not_follow_from_it() -> None:
    found = diagnosed(
        "[ 9.000002] Kernel module BTF mismatch detected, BTF debug info may be unavailable for\n"
        "some modules\n"
        "dockerd[1]: failed to start daemon\n"
    )
    assert any("does not follow from it" in one.text for one in found.contradictions)


def test_the_oom_killers_victim_decides() -> None:
    oom = "[ 9.100000] Out of memory: Killed process 42 ({}) total-vm:8kB\n"
    assert first(oom.format("pahole")) == (33, Likelihood.SHOWN)
    assert diagnosed(oom.format("firefox")).conclusion is NOT_SHOWN
    killed = "  BTF     .tmp_vmlinux1.btf.o\nKilled\n"
    assert first(killed) == (33, Likelihood.LIKELY)


def test_a_full_disk_is_named() -> None:
    full = "ld: final link failed: No space left on device\nmake[3]: *** [x] Error 1\n"
    assert [one.text for one in diagnosed(full).elsewhere] == ["the disk is full"]
    written = f"  BTF [M] a.ko\n{full}btf_encoder__write_elf: failed to add .BTF section to 'a.ko': 2!\n"
    assert first(written) == (15, Likelihood.SHOWN)
    assert not diagnosed(written).elsewhere


def test_prototypes_differ_for_another_reason_before_7_0() -> None:
    text = "libbpf: extern (func ksym) 'x': func_proto [18] incompatible with vmlinux [607]\n"
    assert [first(f"{kernel}{text}")[0] for kernel in ("", "Linux version 7.1.0 (x)\n")] == [35, 35]
    assert first(f"Linux version 6.12.0 (x)\n{text}")[0] == 18


def test_sizes_that_are_no_cache_line_apart_are_another_configurations() -> None:
    text = CASES["struct module without the members for BTF"].text
    assert diagnosed(text.replace("04c0", "0400")).conclusion is NOT_SHOWN


def test_a_module_without_btf_that_has_kfuncs() -> None:
    missing = "[    9.000001] missing module BTF, cannot register kfuncs\n"
    assert classes(diagnosed(missing))[:2] == [5, 17]
    skipped = "Skipping BTF generation for m.ko due to unavailability of vmlinux\n"
    assert first(skipped + missing) == (5, Likelihood.SHOWN)
    stripped = diagnosed(f"llvm-strip --strip-all m.ko\n{missing}")
    assert stripped.causes[0].number == 16
    old = diagnosed(f"Linux version 6.1.0 (x)\n{missing}")
    assert any("fail with -2" in why for why in old.causes[0].why)


def test_what_would_make_it_surer_is_asked_for() -> None:
    asked = diagnosed("modprobe: ERROR: could not insert 'm': Invalid argument\nregister_btf_kfunc_id_set\n")
    assert any("what the kernel says at the moment of the load" in one for one in asked.missing)
    build = diagnosed("  BTFIDS  vmlinux\nFAILED: load BTF from vmlinux: Invalid argument\n")
    assert "pahole --version where the kernel was built" in build.missing
    told = diagnosed("pahole v1.25\n  BTFIDS  vmlinux\nFAILED: load BTF from vmlinux: Invalid argument\n")
    assert "pahole --version where the kernel was built" not in told.missing
    late = diagnosed("[   90.000001] failed to validate module [m] BTF: -22\n")
    assert "those early in the boot" in late.missing[0]
    whole = diagnosed("[    0.000001] x\n[    2.000001] failed to validate module [m] BTF: -22\n")
    assert whole.missing[0] == "the BPF: lines, if there are any in this boot"
    unsaid = diagnosed(CASES["the kernel's own kfuncs fail, and what says why was cut out"].text)
    assert "for what vmlinux's own BTF was refused" in unsaid.missing[0]


def test_no_cause_is_named_twice() -> None:
    for case in CASES.values():
        found = classes(diagnosed(case.text))
        assert len(found) == len(set(found))


def test_without_a_refusal_nothing_follows_from_one() -> None:
    text = (
        "[    9.000001] sysfs: cannot create duplicate filename '/kernel/btf/x'\nYou are in emergency mode.\n"
    )
    assert not diagnosed(text).consequences
    refused = "[    9.000001] failed to validate module [m] BTF: -22\nYou are in emergency mode.\n"
    assert [one.text for one in diagnosed(refused).consequences] == [
        "the boot ends in emergency mode because modules are missing"
    ]


def test_the_reader_of_a_shift_quotes_the_name_that_shows_it() -> None:
    bare_name = "[    5.000001] BPF: Invalid name\n[    5.000002] failed to validate module [a] BTF: -22\n"
    found = diagnosed(bare_name + of_module("[5] STRUCT ata..percpu", "Invalid name"))
    assert "'ata..percpu'" in found.causes[0].why[0]
    assert set(found.causes[0].modules) == {"a", "m"}
