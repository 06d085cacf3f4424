# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Damaged BTF: cut, patched, or of a form that the kernel refuses, one edit a case.

Each edit is of a byte or a word in healthy BTF, in the first type of its kind. Errno and words are those of
kernel/bpf/btf.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kbtf_ci.btf.cases.case import (
    E2BIG,
    ELOOP,
    ENOTSUPP,
    Altered,
    AlteredBtf,
    Case,
    Healthy,
    NotThereError,
    of_member,
    of_record,
    of_type,
    plain,
    refused,
    taken,
)
from kbtf_ci.btf.cases.edit import (
    INFO,
    KFLAG,
    NAME,
    TAIL,
    THIRD,
    Draft,
    header_field,
    info,
    with_header,
)
from kbtf_ci.btf.cases.other_base import first_own_name
from kbtf_ci.btf.format.wire import HEADER_BYTES, LAYOUT_HEADER_BYTES, MAX_TYPE, Kind
from kbtf_ci.model.case import Expectation
from kbtf_ci.model.version import Version

_TOO_LARGE: Final = MAX_TYPE + 1
_MEMBER: Final = 3  # words of a struct's member: name, type, offset in bits
_LONGEST_NAME: Final = 512  # KSYM_NAME_LEN since 6.1

_TRUNCATED = "A module was cut short or overwritten: a full disk, a broken download, bad memory."
_UNSEEN = "pahole 1.20 wrote ids out of range. Where no modifier has them, the kernel does not see it."
_REFERENCE = "type_id=<number>"
_SIZED = "size=<number> vlen=<number>"


def _bytes(edit: Callable[[bytes], bytes]) -> Callable[[Healthy], Altered]:
    """Return what alters a module's BTF as bytes."""
    return lambda healthy: AlteredBtf(edit(healthy.btf))


def _record(edit: Callable[[Draft], None]) -> Callable[[Healthy], Altered]:
    """Return what alters words or strings of a module's BTF."""

    def make(healthy: Healthy) -> Altered:
        draft = Draft(healthy.own)
        edit(draft)
        return AlteredBtf(draft.bytes())

    return make


def _set(kind: Kind, word: int, value: int | Callable[[Draft, int], int]) -> Callable[[Healthy], Altered]:
    """Return what sets one word, counted from its first, of the first type of a kind.

    The value may depend on the draft and on where the type begins.
    """

    def edit(draft: Draft) -> None:
        start = draft.find(kind, vlen=1 if word >= TAIL else 0)
        draft.words[start + word] = value if isinstance(value, int) else value(draft, start)

    return _record(edit)


def _behind_strings(draft: Draft, _start: int) -> int:
    return draft.string_base + len(draft.strings)


def _behind_types(draft: Draft, _start: int) -> int:
    return draft.btf.nr_types


def _own_id(draft: Draft, start: int) -> int:
    return draft.id_at(start)


def _swap_members(draft: Draft) -> None:
    start = draft.find(Kind.STRUCT, vlen=2, suits=lambda start: _offset(draft, start, 1) > 0)
    first, second = start + TAIL + 2, start + TAIL + _MEMBER + 2
    draft.words[first], draft.words[second] = draft.words[second], draft.words[first]


def _offset(draft: Draft, start: int, member: int) -> int:
    return draft.words[start + TAIL + member * _MEMBER + 2]


def _last_member_outside(draft: Draft) -> None:
    start = draft.find(Kind.STRUCT, vlen=1)
    vlen = draft.words[start + INFO] & 0xFFFF
    draft.words[start + TAIL + (vlen - 1) * _MEMBER + 2] = 8 * (draft.words[start + THIRD] + 1)


def _without_strings(healthy: Healthy) -> Altered:
    first_own_name(healthy.own)  # what the kernel names is a type
    size = header_field(healthy.btf, "str_len")
    return AlteredBtf(with_header(healthy.btf[:-size], str_len=0))


def _longer_header(more: bytes) -> Callable[[bytes], bytes]:
    def edit(btf: bytes) -> bytes:
        if header_field(btf, "hdr_len") != HEADER_BYTES:
            raise NotThereError("its BTF has a header of another length already")
        return with_header(btf[:HEADER_BYTES], hdr_len=LAYOUT_HEADER_BYTES) + more + btf[HEADER_BYTES:]

    return edit


def _name_with(text: str, kind: Kind) -> Callable[[Healthy], Altered]:
    return _set(kind, NAME, lambda draft, _: draft.string(text))


def _kflag_on_type_tag(draft: Draft) -> None:
    name = draft.string("user")
    draft.words += [name, info(Kind.TYPE_TAG, kflag=1), 0]


def _functions_are_numbers(draft: Draft) -> None:
    """Let every function's prototype be type 1, which is no FUNC_PROTO in any vmlinux."""
    draft.find(Kind.FUNC)
    for start in draft.btf.records.at[draft.btf.records.of(Kind.FUNC)].tolist():
        draft.words[start + THIRD] = 1


def _broken(
    name: str,
    title: str,
    expected: Expectation,
    make: Callable[[Healthy], Altered],
    source: str,
    *,
    story: str = _TRUNCATED,
    failure_class: int = 22,
    since: Version = (5, 19),
    until: Version | None = None,
) -> Case:
    return Case(
        name=name,
        failure_class=failure_class,
        title=title,
        story=story,
        source=f"kernel/bpf/btf.c, {source}",
        expected=expected,
        make=make,
        since=since,
        until=until,
    )


_FRAME: Final = (
    _broken("cut-to-7-bytes", "7 bytes of .BTF are left", refused(plain("hdr_len not found")),
            _bytes(lambda btf: btf[:7]), "btf_parse_hdr()"),
    _broken("cut-to-20-bytes", "20 bytes of .BTF are left", refused(plain("btf_header not found")),
            _bytes(lambda btf: btf[:20]), "btf_parse_hdr()"),
    _broken("magic-swapped", "the magic is of the other byte order", refused(plain("Invalid magic")),
            _bytes(lambda btf: btf[1::-1] + btf[2:]), "btf_parse_hdr()"),
    _broken("version-2", "a version that does not exist", refused(plain("Unsupported version"), ENOTSUPP),
            _bytes(lambda btf: with_header(btf, version=2)), "btf_parse_hdr()"),
    _broken("flags-1", "a flag that does not exist", refused(plain("Unsupported flags"), ENOTSUPP),
            _bytes(lambda btf: with_header(btf, flags=1)), "btf_parse_hdr()"),
    _broken("header-of-the-future", "a header of 32 bytes that says something in the last 8",
            refused(plain("Unsupported btf_header"), E2BIG), _bytes(_longer_header(b"\1" * 8)),
            "btf_parse_hdr(); Linux 7.1 reads layout_off and layout_len "
            "there", failure_class=21, until=(7, 0),
            story="pahole 1.32 with --btf_features=all writes a layout section, and a header that older "
                  "kernels do not know."),
    _broken("header-longer-and-empty", "a header of 32 bytes, the last 8 of them zero", taken(),
            _bytes(_longer_header(bytes(8))), "btf_parse_hdr(): bytes that are zero are no matter",
            failure_class=21, story="A newer pahole's header without anything new in it."),
    _broken("last-byte-cut", "the last byte is missing", refused(plain("Total section length too long")),
            _bytes(lambda btf: btf[:-1]), "btf_check_sec_info()"),
    _broken("strings-longer-than-said", "str_len is one more than there is",
            refused(plain("Total section length too long")),
            _bytes(lambda btf: with_header(btf, str_len=header_field(btf, "str_len") + 1)),
            "btf_check_sec_info()"),
    _broken("byte-appended", "a byte behind the strings", refused(plain("Unsupported section found")),
            _bytes(lambda btf: btf + b"\0"), "btf_check_sec_info()"),
    _broken("types-moved-up", "type_off is 4 more", refused(plain("Unsupported section found")),
            _bytes(lambda btf: with_header(btf, type_off=4)), "btf_check_sec_info()"),
    _broken("sections-overlap", "str_off is one less", refused(plain("Section overlap found")),
            _bytes(lambda btf: with_header(btf, str_off=header_field(btf, "str_off") - 1)),
            "btf_check_sec_info()"),
    _broken("strings-without-end", "the last string has no NUL", refused(plain("Invalid string section")),
            _bytes(lambda btf: btf[:-1] + b"A"), "btf_parse_str_sec()"),
    _broken("strings-gone", "str_len is 0 and the strings are cut off",
            refused(plain("[<number>] Invalid name_offset:<number>")), _without_strings, "btf_check_meta()"),
)  # fmt: skip

_TYPES: Final = (
    _broken("info-unknown-bit", "a bit of a struct's info that means nothing",
            refused(plain("[<number>] Invalid btf_info:<hex>")),
            _set(Kind.STRUCT, INFO, lambda draft, start: draft.words[start + INFO] | 1 << 16),
            "btf_check_meta(); gone in 7.2 (f7a6b9eaff3e)", until=(7, 1)),
    _broken("kind-0", "a type of kind 0", refused(plain("[<number>] Invalid kind:0")),
            _set(Kind.STRUCT, INFO, 0), "btf_check_meta()"),
    _broken("kind-31", "a type of kind 31", refused(plain("[<number>] Invalid kind:31")),
            _set(Kind.STRUCT, INFO, info(31)), "btf_check_meta()", failure_class=21,
            story="A newer pahole wrote a kind that this kernel does not know."),
    _broken("name-behind-strings", "a struct's name lies behind all strings",
            refused(plain("[<number>] Invalid name_offset:<number>")),
            _set(Kind.STRUCT, NAME, _behind_strings), "btf_check_meta(), btf_name_offset_valid()"),
    _broken("vlen-65535", "a struct of 65,535 members, which are not there",
            refused(of_record("STRUCT", "meta_left:<number> meta_needed:786420")),
            _set(Kind.STRUCT, INFO, info(Kind.STRUCT, 0xFFFF)), "btf_struct_check_meta()"),
    _broken("member-without-type", "a member of type 0", refused(of_member("Invalid type_id")),
            _set(Kind.STRUCT, TAIL + 1, 0), "btf_struct_check_meta()"),
    _broken("member-type-too-large", "a member's type is 0x100000", refused(of_member("Invalid type_id")),
            _set(Kind.STRUCT, TAIL + 1, _TOO_LARGE), "btf_struct_check_meta()"),
    _broken("members-out-of-order", "two members of a struct have changed places",
            refused(of_member("Invalid member bits_offset")), _record(_swap_members),
            "btf_struct_check_meta()", failure_class=13,
            story="rustc orders fields as it likes, and pahole before 1.25 wrote them as they came."),
    _broken("member-outside-struct", "a member begins behind its struct's end",
            refused(of_member("Member bits_offset exceeds its struct size")), _record(_last_member_outside),
            "btf_struct_check_meta()"),
    _broken("function-linkage-2", "a function's linkage is 2",
            refused(of_type("FUNC", _REFERENCE, "Invalid func linkage")),
            _set(Kind.FUNC, INFO, info(Kind.FUNC, 2)), "btf_func_check_meta()"),
    _broken("function-without-name", "a function without a name",
            refused(of_type("FUNC", _REFERENCE, "Invalid name", name="(anon)")), _set(Kind.FUNC, NAME, 0),
            "btf_func_check_meta()"),
    _broken("function-name-refused", "a function's name has a hyphen",
            refused(of_type("FUNC", _REFERENCE, "Invalid name", name="kbtf-ci")),
            _name_with("kbtf-ci", Kind.FUNC),
            "btf_func_check_meta(), btf_name_valid_identifier()", failure_class=14,
            story="A compiler or another language gave a name that is no C identifier; until 6.4 a dot "
                  "sufficed, as in asan.module_ctor (9724160b3942)."),
    _broken("struct-name-too-long", "a struct's name has 513 characters",
            refused(of_type("STRUCT", _SIZED, "Invalid name")),
            _name_with("x" * (_LONGEST_NAME + 1), Kind.STRUCT),
            "btf_struct_check_meta(), __btf_name_valid(): KSYM_NAME_LEN", failure_class=14,
            story="A generated name, of C++ or Rust, is longer than the kernel's KSYM_NAME_LEN."),
    _broken("pointer-with-name", "a pointer has a name",
            refused(of_type("PTR", _REFERENCE, "Invalid name", name="pointer")),
            _name_with("pointer", Kind.PTR),
            "btf_ref_type_check_meta()"),
    _broken("pointer-type-too-large", "a pointer's type is 0x100000",
            refused(of_type("PTR", "type_id=1048576", "Invalid type_id", name="(anon)")),
            _set(Kind.PTR, THIRD, _TOO_LARGE), "btf_ref_type_check_meta()"),
    _broken("const-kind-flag", "kind_flag on a const",
            refused(of_type("CONST", _REFERENCE, "Invalid btf_info kind_flag", name="(anon)")),
            _set(Kind.CONST, INFO, info(Kind.CONST) | KFLAG), "btf_ref_type_check_meta()"),
    _broken("type-tag-kind-flag", "kind_flag on a type tag",
            refused(of_type("TYPE_TAG", "type_id=0", "Invalid btf_info kind_flag", name="user")),
            _record(_kflag_on_type_tag), "btf_ref_type_check_meta(); allowed since 6.15 (53ee0d66d7a6)",
            failure_class=21, until=(6, 14),
            story="pahole 1.30 with --btf_features=attributes on a kernel before 6.15: a hand-run pahole, "
                  "or a driver that was brought back to it."),
    _broken("const-of-itself", "a const refers to itself",
            refused(plain("Max chain length or cycle detected"), ELOOP), _set(Kind.CONST, THIRD, _own_id),
            "btf_check_type_tags(), since eb596b0905584 (5.19)", failure_class=2,
            story="What a stale module's ids come to where vmlinux has one type more."),
    _broken("const-dangling", "a const refers to a type behind the last one", refused(),
            _set(Kind.CONST, THIRD, _behind_types),
            "btf_check_type_tags(): without any BPF line", failure_class=15,
            story="pahole 1.20 wrote ids out of range. The kernel refuses it without a word of why."),
    _broken("enum-size-3", "an enum of 3 bytes",
            refused(of_type("ENUM", "size=3 vlen=<number>", "Unexpected size")),
            _set(Kind.ENUM, THIRD, 3), "btf_enum_check_meta()"),
    _broken("enumerator-name-behind-strings", "an enumerator's name lies behind all strings",
            refused(plain("\tInvalid name_offset:<number>")), _set(Kind.ENUM, TAIL, _behind_strings),
            "btf_enum_check_meta()"),
    _broken("member-dangling", "a member refers to a type behind the last one", taken(),
            _set(Kind.STRUCT, TAIL + 1, _behind_types), "btf_parse_module(): no member is resolved",
            failure_class=15, story=_UNSEEN),
    _broken("pointer-dangling", "a pointer refers to a type behind the last one", taken(),
            _set(Kind.PTR, THIRD, _behind_types), "btf_parse_module(): no pointer is resolved",
            failure_class=15, story=_UNSEEN),
    _broken("functions-without-prototypes", "every function's prototype is vmlinux's type 1", taken(),
            _record(_functions_are_numbers), "btf_parse_module(): no function is resolved", failure_class=24,
            story="A module written against another vmlinux whose ids still make sense to the kernel: it "
                  "loads and every prototype is absurd."),
)  # fmt: skip

CASES: Final = (*_FRAME, *_TYPES)
