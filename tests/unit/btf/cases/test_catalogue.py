# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The catalogue of failures: each case alters just what it says, and expects what the kernel's rules say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

import pytest

from kbtf_ci.btf.cases import misdescribed
from kbtf_ci.btf.cases.case import (
    AlteredBtf,
    AlteredFile,
    AlteredVmlinux,
    Case,
    Healthy,
    NotThereError,
    as_module,
)
from kbtf_ci.btf.cases.catalogue import CASES, lacks, named
from kbtf_ci.btf.cases.edit import written_against
from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.rules.check import Kernel, check
from kbtf_ci.btf.rules.versions import Rules
from kbtf_ci.btf.usable.fentry import functions
from kbtf_ci.errors import UsageError
from kbtf_ci.model.case import ANY, Need, Traits
from kbtf_ci.model.outcome import Outcome
from kbtf_ci.model.proof import Function, Traceable
from kbtf_ci.model.repro import agrees, lines_on_btf, pattern
from kbtf_ci.objfile.elf import ElfImage
from kbtf_ci.objfile.tracing import Places
from tests.support import sketch as sk
from tests.support.healthy import STRUCT_BYTES, THIS, healthy, module, split, vmlinux

# The classes of real failures that can be provoked on a healthy build.
PROVOKED = {1, 2, 3, 4, 5, 9, 11, 12, 13, 14, 15, 16, 17, 19, 22, 23, 24, 25, 26, 27, 28, 29, 30, 32, 34, 35}
RUN = [case for case in CASES if case.make is not None]
REFUSING, ALLOWING = (Traits((6, 12), allows_mismatch=allows, alterable=True) for allows in (False, True))


def case(name: str) -> Case:
    (found,) = named([name])
    return found


def altered(name: str, subject: Healthy | None = None) -> AlteredBtf:
    one = case(name)
    assert one.make
    made = one.make(subject or healthy())
    assert isinstance(made, AlteredBtf)
    return made


def altered_btf(name: str) -> bytes:
    btf = altered(name).btf
    assert btf
    return btf


def read(btf: bytes) -> sk.Sketch:
    base = vmlinux()
    return sk.read(btf, base.end_id, len(base.strings))


def changed_words(name: str) -> list[tuple[int, int, int, int]]:
    """Return record, word, old and new value of every word of a type that the case changes."""
    before, after = split(vmlinux()).records, read(altered_btf(name)).records
    return [
        (number, place, old, new)
        for number, (one, other) in enumerate(zip(before, after, strict=True))
        for place, (old, new) in enumerate(zip(one, other, strict=True))
        if old != new
    ]


def test_names_are_unique_and_can_be_a_modules() -> None:
    names = [one.name for one in CASES]
    assert len(names) == len(set(names))
    assert [one.module for one in CASES if not re.fullmatch(r"[a-z][a-z0-9_]{0,54}", one.module)] == []


def test_every_class_that_can_be_provoked_has_a_case_and_what_is_not_run_says_why() -> None:
    assert {one.failure_class for one in CASES} >= PROVOKED
    for one in CASES:
        assert [one.make is None, one.build is None, not one.why_not].count(False) == 1, one.name
        assert one.story, one.name
        assert one.source, one.name


@pytest.mark.parametrize("one", CASES, ids=lambda one: one.name)
def test_expectations_parse_and_hold_together(one: Case) -> None:
    refusing, allowing = one.expected.refusing, one.expected.allowing
    for line in (*refusing.log, *allowing.log, *refusing.build, *allowing.build):
        pattern(line, "m")
        assert line == ANY or set(re.findall(r"<[a-z]+>", line)) <= {
            "<number>", "<hex>", "<name>", "<text>", "<module>",
        }  # fmt: skip
    if refusing.outcome is Outcome.REJECTED:
        assert refusing.log[-1] == f"failed to validate module [<module>] BTF: -{refusing.errno}"
        assert not refusing.sysfs
        assert (allowing.outcome, allowing.errno) == (Outcome.DROPPED, 0)
        assert not any("failed to validate" in line for line in allowing.log)
    else:
        assert refusing == allowing


@pytest.mark.parametrize("one", RUN, ids=lambda one: one.name)
def test_what_is_altered_is_not_what_it_was_and_the_module_goes_by_its_name(one: Case) -> None:
    subject = healthy()
    assert one.make
    made = one.make(subject)
    name, data = as_module(one, made, subject)
    image = ElfImage(data)
    assert (
        image.section(
            ".modinfo",
        )
        is not None
    )
    assert b"name=" + name.encode() + b"\0" in (image.section(".modinfo") or b"")
    assert name.encode() + b"\0" in (image.section(THIS) or b"")
    if isinstance(made, AlteredVmlinux):
        assert image.section(".BTF") == subject.btf
        assert len(made.btf) == len(subject.vmlinux_data)
        assert made.btf != subject.vmlinux_data
    elif isinstance(made, AlteredFile):
        untouched = ElfImage(made.original)
        altered_ = [name for name in (".BTF", ".BTF_ids") if image.section(name) != untouched.section(name)]
        assert altered_ == [".BTF" if one in misdescribed.CASES else ".BTF_ids"]
        assert not any(ElfImage(made.control).section(".rela.gnu.linkonce.this_module") or b"?")
    else:
        assert (image.section(".BTF"), image.section(".BTF.base")) == (made.btf, made.base)
        otherwise = made.struct_bytes is not None or made.name != ""
        assert otherwise or (made.btf, made.base) != (subject.btf, None)


def functions_of(name: str, *, untouched: bool = False) -> dict[str, Function]:
    one, subject = case(name), healthy()
    made = one.make(subject) if one.make else None
    assert isinstance(made, AlteredFile)
    image = ElfImage(made.original if untouched else made.data)
    btf = Btf.parse(image.section(".BTF") or b"", subject.vmlinux)
    return {function.name: function for function in functions(btf, Places.of(image))}


@pytest.mark.parametrize("one", misdescribed.CASES, ids=lambda one: one.name)
def test_exactly_the_function_that_is_named_is_described_otherwise(one: Case) -> None:
    before, after = functions_of(one.name, untouched=True), functions_of(one.name)
    changed = tuple(name for name in before if before[name] != after[name])
    assert changed == one.expected.under(REFUSING).misdescribed
    made = one.make(healthy()) if one.make else None
    assert isinstance(made, AlteredFile)
    relocations = ElfImage(made.data).section(".rela.gnu.linkonce.this_module") or b"?"
    assert not any(relocations)  # its init function registers what another has registered


def test_the_flags_of_one_kfunc_are_altered_and_its_init_function_runs() -> None:
    one = case("kfunc-without-twin")
    made = one.make(healthy()) if one.make else None
    assert isinstance(made, AlteredFile)
    before, after = (ElfImage(data).section(".BTF_ids") or b"" for data in (made.original, made.data))
    assert [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new] == [22]
    assert after[20:24] == (1 << 16).to_bytes(4, "little")  # of the second one
    assert any(ElfImage(made.data).section(".rela.gnu.linkonce.this_module") or b"")


def test_a_variadic_prototype_is_none_for_a_program_and_another_struct_is_one() -> None:
    assert functions_of("func-of-another-prototype")["bbr_main"].traceable is Traceable.SIGNATURE
    name = "bbr_set_pacing_rate"
    before = functions_of("argument-of-another-struct", untouched=True)[name].arguments
    after = functions_of("argument-of-another-struct")[name].arguments
    assert [one.slot for one in before] == [one.slot for one in after] == [0]
    assert before != after


def test_a_module_without_such_a_function_makes_no_case() -> None:
    subject = healthy()
    for name in ("func-of-another-prototype", "argument-of-another-struct"):
        one = case(name)
        assert one.make
        others: tuple[dict[str, bytes], ...] = ({}, {"tcp_bbr": module("tcp_bbr", subject.btf)})
        for other in others:
            with pytest.raises(NotThereError):
                one.make(replace(subject, find=other.get))


def verdicts(
    allows: bool, order: str
) -> Iterator[tuple[Case, str, int, tuple[str, ...], bytes | None, bytes | None]]:
    """Yield each case of BTF with what our own rules make of it: errno, lines, and what sysfs shall hold."""
    subject = healthy(order)
    rules = Rules.for_version((6, 12))
    for one in RUN:
        assert one.make
        made = one.make(subject)
        if isinstance(made, AlteredFile) or one.failure_class in (9, 19):
            continue  # the loader's business, or an init function's
        base = made.btf if isinstance(made, AlteredVmlinux) else subject.vmlinux_data
        kernel = Kernel.open(base, rules, allow_mismatch=allows)
        if isinstance(made, AlteredVmlinux):
            found = check(kernel, one.module, subject.btf)
            told = (
                [one.decode().removesuffix("\n") for one in kernel.rejection.records]
                if kernel.rejection
                else []
            )
            yield one, one.module, found.errno, (*told, *found.log), found.sysfs, subject.btf
        else:
            found = check(kernel, one.module, made.btf, made.base)
            yield one, one.module, found.errno, found.log, found.sysfs, made.sysfs or made.btf


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("traits", [REFUSING, ALLOWING], ids=["refusing", "allowing"])
def test_the_offline_check_says_the_same_from_its_own_reading_of_the_source(
    traits: Traits, order: str
) -> None:
    """Two hands wrote the two down: where they differ, one of them is wrong."""
    seen = 0
    for one, name, errno, log, sysfs, wanted in verdicts(traits.allows_mismatch, order):
        expected = one.expected.under(traits)
        if one.until is not None and one.until < traits.version:
            continue
        if Need.MISMATCH in one.needs and not traits.allows_mismatch:
            continue
        seen += 1
        assert errno == expected.errno, one.name
        assert (sysfs is not None) == expected.sysfs, one.name
        if expected.sysfs:
            assert sysfs == wanted, one.name
        if Need.MISMATCH not in one.needs:  # once a boot: check() speaks of one module
            assert agrees(expected.log, lines_on_btf(log, expected.log, name), name), (one.name, log)
    assert seen > 50


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("info-unknown-bit", [(0, 1, sk.info(sk.STRUCT, 2), sk.info(sk.STRUCT, 2) | 1 << 16)]),
        ("kind-0", [(0, 1, sk.info(sk.STRUCT, 2), 0)]),
        ("kind-31", [(0, 1, sk.info(sk.STRUCT, 2), sk.info(31))]),
        ("vlen-65535", [(0, 1, sk.info(sk.STRUCT, 2), sk.info(sk.STRUCT, 65535))]),
        ("member-without-type", [(0, 4, 1, 0)]),
        ("member-type-too-large", [(0, 4, 1, 0x100000)]),
        ("members-out-of-order", [(0, 5, 0, 64), (0, 8, 64, 0)]),
        ("member-outside-struct", [(0, 8, 64, 136)]),
        ("function-linkage-2", [(5, 1, sk.info(sk.FUNC), sk.info(sk.FUNC, 2))]),
        ("pointer-type-too-large", [(2, 2, vmlinux().end_id + 1, 0x100000)]),
        ("const-kind-flag", [(1, 1, sk.info(sk.CONST), sk.info(sk.CONST, kflag=1))]),
        ("const-of-itself", [(1, 2, vmlinux().end_id, vmlinux().end_id + 1)]),
        ("const-dangling", [(1, 2, vmlinux().end_id, vmlinux().end_id + 7)]),
        ("enum-size-3", [(3, 2, 4, 3)]),
        ("member-dangling", [(0, 4, 1, vmlinux().end_id + 7)]),
        ("functions-without-prototypes", [(5, 2, vmlinux().end_id + 4, 1)]),
    ],
)
def test_a_damaged_type_differs_in_the_words_that_are_named(
    name: str, changes: list[tuple[int, int, int, int]]
) -> None:
    # A kind that does not exist has no length that sketch.read() would know.
    if name in ("kind-0", "kind-31", "vlen-65535"):
        btf, before = altered_btf(name), healthy().btf
        at = 24 + 4
        assert btf == before[:at] + changes[0][3].to_bytes(4, "little") + before[at + 4 :]
        return
    assert changed_words(name) == changes
    assert read(altered_btf(name)).strings == split(vmlinux()).strings


@pytest.mark.parametrize(
    ("name", "record", "text"),
    [
        ("function-name-refused", 5, b"kbtf-ci"),
        ("struct-name-too-long", 0, b"x" * 513),
        ("pointer-with-name", 2, b"pointer"),
    ],
)
def test_another_name_is_one_word_and_one_string(name: str, record: int, text: bytes) -> None:
    (change,) = changed_words(name)
    assert change[:2] == (record, 0)
    sketch = read(altered_btf(name))
    assert sketch.strings == split(vmlinux()).strings + text + b"\0"
    assert change[3] == split(vmlinux()).end_name


def test_the_frame_is_damaged_where_it_is_named() -> None:
    btf = healthy().btf
    types, strings = len(split(vmlinux()).types()), len(split(vmlinux()).strings)

    def field(number: int, value: int) -> bytes:
        at = 4 + 4 * number
        return btf[:at] + value.to_bytes(4, "little") + btf[at + 4 :]

    wanted = {
        "cut-to-7-bytes": btf[:7],
        "cut-to-20-bytes": btf[:20],
        "magic-swapped": b"\xeb\x9f" + btf[2:],
        "version-2": btf[:2] + b"\2" + btf[3:],
        "flags-1": btf[:3] + b"\1" + btf[4:],
        "header-of-the-future": field(0, 32)[:24] + b"\1" * 8 + btf[24:],
        "header-longer-and-empty": field(0, 32)[:24] + bytes(8) + btf[24:],
        "last-byte-cut": btf[:-1],
        "strings-longer-than-said": field(4, strings + 1),
        "byte-appended": btf + b"\0",
        "types-moved-up": field(1, 4),
        "sections-overlap": field(3, types - 1),
        "strings-without-end": btf[:-1] + b"A",
        "strings-gone": field(4, 0)[:-strings],
    }
    for name, bytes_ in wanted.items():
        assert altered(name) == AlteredBtf(bytes_), name


def test_another_base_moves_own_ids_and_names_and_nothing_else() -> None:
    own = healthy().own
    moved = read(written_against(own, types=3, string_bytes=5))
    first_id, first_name = own.start_id, len(own.names.base)
    ids = {(0, 4): 0, (0, 7): 0, (1, 2): 3, (2, 2): 3, (4, 2): 0, (4, 4): 3, (5, 2): 3, (6, 2): 0}
    for number, (one, other) in enumerate(zip(split(vmlinux()).records, moved.records, strict=True)):
        for place in sk.type_fields(one):
            assert other[place] - one[place] == ids[number, place]
            assert one[place] >= first_id or other[place] == one[place]
        for place in sk.name_fields(one):
            assert other[place] - one[place] == (5 if one[place] >= first_name else 0)
    assert moved.strings == split(vmlinux()).strings


@pytest.mark.parametrize(
    ("name", "types", "string_bytes"),
    [
        ("vmlinux-function-more", 2, len("own_struct")),
        ("vmlinux-string-less", -2, -1),
        ("vmlinux-types-moved", 1, 0),
        ("vmlinux-of-another-kernel", 2000, len(split(vmlinux()).strings)),
    ],
)
def test_the_shift_of_another_base_is_chosen_by_hand(name: str, types: int, string_bytes: int) -> None:
    btf = written_against(healthy().own, types=types, string_bytes=string_bytes)
    assert altered(name) == AlteredBtf(btf)


def test_in_another_order_only_what_the_kernel_does_not_follow_is_moved() -> None:
    moved = {
        (number, place): (old, new) for number, place, old, new in changed_words("vmlinux-in-another-order")
    }
    types = vmlinux().end_id - 1
    assert moved == dict.fromkeys(((0, 4), (0, 7), (4, 2)), (1, 1 + 1000 % types))


def test_sections_are_taken_away_as_packaging_does() -> None:
    subject = healthy()
    assert altered("btf-stripped") == AlteredBtf(None)
    assert altered("btf-emptied") == AlteredBtf(b"")
    assert altered("base-emptied") == AlteredBtf(subject.btf, b"")
    assert altered("header-only").btf == sk.Sketch().bytes()
    lost = altered("base-stripped-alone")
    assert lost.base is None
    assert lost.btf
    known = altered("base-not-known")
    assert (known.btf, known.base and sk.read(known.base).end_id) == (lost.btf, 2)
    inside = sk.read(lost.btf, 2, 5)
    name = inside.records[-1][0]
    assert vmlinux().strings[name : name + 1] == b"\0"
    assert bytes(inside.strings)[name - 5 :].startswith(b"kbtf_ci_function\0")


def test_a_distilled_base_that_fits_comes_to_what_was_written_over_vmlinux() -> None:
    made = altered("base-fits")
    assert made.btf
    assert made.base
    assert made.sysfs
    base, own = sk.read(made.base), sk.read(made.sysfs, vmlinux().end_id, len(vmlinux().strings))
    assert [sk.kind_of(one) for one in base.records] == [sk.INT, sk.STRUCT]
    whole = Btf.parse(made.sysfs, Btf.parse(vmlinux().bytes()))
    (function,) = whole.find("kbtf_ci_function", sk.FUNC)
    proto = own.records[function - whole.start_id][2] - whole.start_id
    pointer = own.records[proto][4] - whole.start_id
    assert whole.name(own.records[proto][2]) == "int"
    assert whole.name(own.records[pointer][2]) == "task_struct"


def test_struct_module_is_a_cache_line_smaller() -> None:
    subject = healthy()
    _, data = as_module(case("struct-module-smaller"), altered("struct-module-smaller"), subject)
    section = ElfImage(data).find(THIS)
    assert section
    assert section.size == STRUCT_BYTES - 64


def test_of_a_kfunc_set_one_word_is_zeroed_and_a_signature_goes() -> None:
    subject = healthy()
    data = subject.find("tcp_bbr")
    assert data
    signature = b"the signature"
    end = bytes(8) + len(signature).to_bytes(4, "big") + b"~Module signature appended~\n"
    signed = replace(subject, find={"tcp_bbr": data + signature + end}.get)
    for name, at in (("kfunc-set-without-flag", 4), ("kfunc-id-unresolved", 8)):
        make = case(name).make
        assert make
        made = make(signed)
        assert isinstance(made, AlteredFile)
        ids, before = (ElfImage(one).section(".BTF_ids") for one in (made.data, made.control))
        assert ids
        assert before
        assert before[at] != 0
        assert ids == before[:at] + bytes(4) + before[at + 4 :]
        assert len(made.data) == len(data)
        place = ElfImage(data).find(".rela.gnu.linkonce.this_module")  # the pointers to its init function
        assert place
        kept = range(place.offset, place.offset + place.size)
        pairs = enumerate(zip_longest(data, made.control))
        differing = [n for n, (a, b) in pairs if a != b and n not in kept]
        assert len(differing) == 2  # the name's last letter, twice


def test_what_is_not_there_is_told_and_named_no_fault_of_the_kernels() -> None:
    subject = healthy()
    base = vmlinux()
    bare = sk.Sketch(base.end_id, len(base.strings))
    bare.add(sk.FUNC, bare.string("f"), bare.add(sk.FUNC_PROTO))
    btf = bare.bytes()
    poor = Healthy("p", module("p", btf), btf, subject.vmlinux, subject.vmlinux_data)
    assert lacks(subject) == ()
    assert any(one.startswith("enum-size-3: no ENUM") for one in lacks(poor))
    for name in ("kfunc-id-unresolved", "members-out-of-order", "vmlinux-types-moved"):
        make = case(name).make
        assert make
        with pytest.raises(NotThereError):
            make(poor)


def test_an_unknown_case_is_told_with_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="no case is called vmlinux-function") as caught:
        named(["vmlinux-function"])
    assert "vmlinux-function-more" in caught.value.hint


def test_cases_come_in_the_catalogues_order_and_once() -> None:
    assert [one.name for one in named(["kind-0", "vmlinux-function-more", "kind-0"])] == [
        "vmlinux-function-more",
        "kind-0",
    ]
