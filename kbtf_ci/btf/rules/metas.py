# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The checks of single types, as a table: btf_check_all_metas() and the check_meta of each kind.

All from kernel/bpf/btf.c. A rule is asked about all types of its kinds at once; the kernel stops at the
first type that fails, and there at the first rule. So the order of the rules within a kind is the kernel's.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np

from kbtf_ci.btf.format.names import Bools, Ints
from kbtf_ci.btf.format.records import End, needed
from kbtf_ci.btf.format.wire import MAX_NAME_OFFSET, MAX_TYPE, MODIFIERS, Kind
from kbtf_ci.btf.rules import meta_log
from kbtf_ci.btf.rules.meta_log import Form
from kbtf_ci.btf.rules.rejection import ENOTSUPP, Rejection, reject
from kbtf_ci.btf.rules.rows import CheckContext, Entries, Rows

_Table = TypeVar("_Table", Rows, Entries)


@dataclass(frozen=True)
class Rule(Generic[_Table]):
    """``fails`` says where; a ``%`` in ``text``, the kernel's own words, takes the row's first word."""

    name: str
    fails: Callable[[_Table], Bools]
    text: str
    form: Form = Form.TYPE
    errno: int = errno.EINVAL


@dataclass(frozen=True)
class KindRules:
    """The rules of some kinds: of the record, of each of its entries, and what follows them."""

    kinds: tuple[Kind, ...]
    head: tuple[Rule[Rows], ...]
    entry_words: int = 0
    entries: tuple[Rule[Entries], ...] = ()
    tail: tuple[Rule[Rows], ...] = ()


def _bad_type(ids: Ints) -> Bools:
    return (ids == 0) | (ids > MAX_TYPE)


def _bits(rows: Rows) -> Ints:
    """BTF_INT_BITS + BTF_INT_OFFSET."""
    data = rows.word(0)
    return (data & 0xFF) + (data >> 16 & 0xFF)


def _bit_offset(entries: Entries) -> Ints:
    """__btf_member_bit_offset(): with kind_flag the upper 8 bits are a bit field's size."""
    offset = entries.word(2)
    return np.where(entries.owners.kflag[entries.owner], offset & 0xFF_FFFF, offset)


def _in_union(entries: Entries) -> Bools:
    return entries.owners.has_kind(Kind.UNION)[entries.owner]


def _bad_name_offset(entries: Entries) -> Bools:
    return invalid_name_offset(entries.owners.sight, entries.name_off)


def _end(entries: Entries) -> Ints:
    """Where a variable ends in its section; the kernel adds in u32."""
    return entries.word(1) + entries.word(2) & 0xFFFF_FFFF


def _bad_reference_name(rows: Rows) -> Bools:
    named = np.where(rows.has_kind(Kind.TYPEDEF), ~rows.identifier, rows.empty)
    takes_name = rows.has_kind(Kind.TYPEDEF) | rows.has_kind(Kind.TYPE_TAG)
    return np.where(takes_name, named, rows.name_off != 0)


def _bad_tag_kflag(rows: Rows) -> Bools:
    allowed = rows.has_kind(Kind.TYPE_TAG) & rows.sight.rules.tag_kflag
    return rows.kflag & ~allowed


def _bad_section_name(rows: Rows) -> Bools:
    if not rows.sight.rules.printable_section_names:
        return ~rows.identifier
    limit = rows.sight.rules.name_limit
    return (rows.name_off == 0) | ~rows.sight.names.section_names(rows.name_off, limit)


def _sum_exceeds(rows: Rows) -> Bools:
    entries = Entries.of(rows, 3)
    total = np.zeros(len(rows.index), np.int64)
    np.add.at(total, entries.owner, entries.word(2))
    return rows.value < total


def _vlen(kind: str) -> Rule[Rows]:
    return Rule(f"{kind}.vlen", lambda rows: rows.vlen != 0, "vlen != 0")


def _kflag(kind: str) -> Rule[Rows]:
    return Rule(f"{kind}.kflag", lambda rows: rows.kflag, "Invalid btf_info kind_flag")


def _named(kind: str) -> Rule[Rows]:
    return Rule(f"{kind}.name", lambda rows: ~rows.identifier, "Invalid name")


def _named_or_not(kind: str) -> Rule[Rows]:
    return Rule(f"{kind}.name", lambda rows: (rows.name_off != 0) & ~rows.identifier, "Invalid name")


def _nameless(kind: str) -> Rule[Rows]:
    return Rule(f"{kind}.name", lambda rows: rows.name_off != 0, "Invalid name")


_INT = KindRules(
    (Kind.INT,),
    (
        _vlen("int"),
        _kflag("int"),
        Rule("int.data", lambda rows: rows.word(0) & 0xF000_0000 != 0, "Invalid int_data:%x", Form.BASIC),
        Rule("int.bits", lambda rows: _bits(rows) > 128, "nr_bits exceeds 128"),
        Rule("int.size", lambda rows: (_bits(rows) + 7) // 8 > rows.value, "nr_bits exceeds type_size"),
        Rule("int.encoding", lambda rows: ~np.isin(rows.word(0) >> 24 & 0xF, (0, 1, 2, 4)),
             "Unsupported encoding", errno=ENOTSUPP),
    ),
)  # fmt: skip

_REFERENCE = KindRules(
    (Kind.PTR, *MODIFIERS),
    (
        _vlen("ref"),
        Rule("ref.kflag", _bad_tag_kflag, "Invalid btf_info kind_flag"),
        Rule("ref.type", lambda rows: rows.value > MAX_TYPE, "Invalid type_id"),
        Rule("ref.name", _bad_reference_name, "Invalid name"),
    ),
)

_ARRAY = KindRules(
    (Kind.ARRAY,),
    (
        _nameless("array"),
        _vlen("array"),
        _kflag("array"),
        Rule("array.size", lambda rows: rows.value != 0, "size != 0"),
        Rule("array.element", lambda rows: _bad_type(rows.word(0)), "Invalid elem"),
        Rule("array.index", lambda rows: _bad_type(rows.word(1)), "Invalid index"),
    ),
)

_COMPOSITE = KindRules(
    (Kind.STRUCT, Kind.UNION),
    (_named_or_not("struct"),),
    3,
    (
        Rule("member.name_offset", _bad_name_offset, "Invalid member name_offset:%u", Form.MEMBER),
        Rule("member.name", lambda one: (one.name_off != 0) & ~one.identifier, "Invalid name", Form.MEMBER),
        Rule("member.type", lambda one: _bad_type(one.word(1)), "Invalid type_id", Form.MEMBER),
        Rule("member.in_union", lambda one: _in_union(one) & (_bit_offset(one) != 0),
             "Invalid member bits_offset", Form.MEMBER),
        Rule("member.order", lambda one: one.before(_bit_offset(one)) > _bit_offset(one),
             "Invalid member bits_offset", Form.MEMBER),
        Rule("member.inside", lambda one: (_bit_offset(one) + 7) // 8 > one.owner_value,
             "Member bits_offset exceeds its struct size", Form.MEMBER),
    ),
)  # fmt: skip


def _enum(kind: Kind, words: int) -> KindRules:
    name = kind.name.lower()
    return KindRules(
        (kind,),
        (
            Rule(f"{name}.kflag", lambda rows: rows.kflag & (not rows.sight.rules.enum_kflag),
                 "Invalid btf_info kind_flag"),
            Rule(f"{name}.size", lambda rows: ~np.isin(rows.value, (1, 2, 4, 8)), "Unexpected size"),
            _named_or_not(name),
        ),
        words,
        (
            Rule(f"{name}.value_name_offset", _bad_name_offset, "\tInvalid name_offset:%u", Form.LINE),
            Rule(f"{name}.value_name", lambda one: ~one.identifier, "Invalid name"),
        ),
    )  # fmt: skip


_FWD = KindRules(
    (Kind.FWD,),
    (_vlen("fwd"), Rule("fwd.type", lambda rows: rows.value != 0, "type != 0"), _named("fwd")),
)

_FUNC = KindRules(
    (Kind.FUNC,),
    (
        _named("func"),
        Rule("func.linkage", lambda rows: rows.vlen > 1, "Invalid func linkage"),
        _kflag("func"),
    ),
)

_FUNC_PROTO = KindRules((Kind.FUNC_PROTO,), (_nameless("func_proto"), _kflag("func_proto")))

_VAR = KindRules(
    (Kind.VAR,),
    (
        _vlen("var"),
        _kflag("var"),
        _named("var"),
        Rule("var.type", lambda rows: _bad_type(rows.value), "Invalid type_id"),
        Rule("var.linkage", lambda rows: rows.word(0) > 1, "Linkage not supported"),
    ),
)

_DATASEC = KindRules(
    (Kind.DATASEC,),
    (
        Rule("datasec.size", lambda rows: rows.value == 0, "size == 0"),
        _kflag("datasec"),
        Rule("datasec.name", _bad_section_name, "Invalid name"),
    ),
    3,
    (
        Rule("datasec.var_type", lambda one: _bad_type(one.word(0)), "Invalid type_id", Form.VARIABLE),
        Rule("datasec.var_offset",
             lambda one: (one.word(1) < one.before(_end(one))) | (one.word(1) >= one.owner_value),
             "Invalid offset", Form.VARIABLE),
        Rule("datasec.var_size", lambda one: (one.word(2) == 0) | (one.word(2) > one.owner_value),
             "Invalid size", Form.VARIABLE),
        Rule("datasec.var_end", lambda one: _end(one) > one.owner_value,
             "Invalid offset+size", Form.VARIABLE),
    ),
    (Rule("datasec.sum", _sum_exceeds, "Invalid btf_info size"),),
)  # fmt: skip

_FLOAT = KindRules(
    (Kind.FLOAT,),
    (
        _vlen("float"),
        _kflag("float"),
        Rule("float.size", lambda rows: ~np.isin(rows.value, (2, 4, 8, 12, 16)), "Invalid type_size"),
    ),
)

_DECL_TAG = KindRules(
    (Kind.DECL_TAG,),
    (
        Rule("decl_tag.value", lambda rows: rows.empty, "Invalid value"),
        _vlen("decl_tag"),
        Rule("decl_tag.kflag", lambda rows: rows.kflag & (not rows.sight.rules.tag_kflag),
             "Invalid btf_info kind_flag"),
        Rule("decl_tag.component",
             lambda rows: (rows.word(0) >= 0x8000_0000) & (rows.word(0) != 0xFFFF_FFFF),
             "Invalid component_idx"),
    ),
)  # fmt: skip

_TABLE: Final = (
    _INT, _REFERENCE, _ARRAY, _COMPOSITE, _enum(Kind.ENUM, 2), _FWD, _FUNC, _FUNC_PROTO, _VAR, _DATASEC,
    _FLOAT, _DECL_TAG, _enum(Kind.ENUM64, 3),
)  # fmt: skip


def _rule_names() -> Iterator[str]:
    yield from ("type.head", "type.info", "type.kind", "type.name_offset", "type.tail")
    for kinds in _TABLE:
        yield from (rule.name for rule in kinds.head)
        yield from (rule.name for rule in kinds.entries)
        yield from (rule.name for rule in kinds.tail)


RULES: Final = tuple(_rule_names())


def invalid_name_offset(sight: CheckContext, offsets: Ints) -> Bools:
    """Return where btf_name_offset_valid() says no: only the strings' end and the format's limit count."""
    return (offsets > MAX_NAME_OFFSET) | (offsets >= sight.names.end)


@dataclass(frozen=True, order=True)
class _Place:
    """Where the kernel would notice a failure; the smallest is the one it does notice."""

    record: int
    stage: int
    entry: int = 0
    order: int = 0


def check_metas(sight: CheckContext) -> None:
    """Raise Rejection for the first type that the kernel refuses on its own account."""
    found = min(_failures(sight), key=lambda failure: failure[0], default=None)
    if found is not None:
        raise found[1]()


_Failure = tuple[_Place, Callable[[], Rejection]]


def _failures(sight: CheckContext) -> Iterator[_Failure]:
    yield from _common(sight)
    yield from _incomplete(sight)
    for kinds in _TABLE:
        rows = Rows(sight, sight.records.of(*kinds.kinds))
        if len(rows.index):
            yield from _of_kinds(kinds, rows)


def _common(sight: CheckContext) -> Iterator[_Failure]:
    """btf_check_meta(), which sees an incomplete last record as well."""
    records = sight.records
    # The walk ends at a kind that the kernel does not know. Those behind which it went on were stepped over.
    unknown = np.zeros(len(records), np.bool_)
    unknown[-1:] = records.end is End.KIND
    checks = (
        ("type.info", records.info & sight.rules.layout.unused != 0, "Invalid btf_info:%x", records.info),
        ("type.kind", unknown, "Invalid kind:%u", records.kind),
        ("type.name_offset", invalid_name_offset(sight, records.name_off), "Invalid name_offset:%u",
         records.name_off),
    )  # fmt: skip
    for order, (name, fails, text, values) in enumerate(checks):
        for i in _first(fails):
            told = f"[{sight.start_id + i}] {text % values[i]}"
            yield _Place(i, 0, order=order), lambda name=name, told=told: reject(name, told)  # type: ignore[misc]


def _incomplete(sight: CheckContext) -> Iterator[_Failure]:
    records = sight.records
    last = len(records) - 1
    if records.end is End.HEAD:
        start = 4 * int(records.at[last]) + 12 + needed_of(sight, last) if len(records) else 0
        told = f"[{sight.start_id + last + 1}] meta_left:{records.size - start} meta_needed:12"
        yield _Place(last + 1, 0), lambda: reject("type.head", told)
    elif records.end is End.TAIL:
        text = f"meta_left:{records.left(last)} meta_needed:{needed_of(sight, last)}"
        yield _Place(last, 1), lambda: meta_log.rejection("type.tail", sight, last, text, Form.BASIC)


def needed_of(sight: CheckContext, index: int) -> int:
    """Return how many bytes a record wants behind its three words."""
    return needed(int(sight.records.kind[index]), int(sight.records.vlen[index]))


def _first(fails: Bools) -> list[int]:
    """Return the first index where it is so, as a list of one or none."""
    found: list[int] = fails.nonzero()[0][:1].tolist()
    return found


def _of_kinds(kinds: KindRules, rows: Rows) -> Iterator[_Failure]:
    yield from _of_records(kinds.head, rows, 2)
    if kinds.entries:
        yield from _of_entries(kinds.entries, Entries.of(rows, kinds.entry_words))
    yield from _of_records(kinds.tail, rows, 4)


def _of_records(rules: tuple[Rule[Rows], ...], rows: Rows, stage: int) -> Iterator[_Failure]:
    for order, rule in enumerate(rules):
        for i in _first(rule.fails(rows)):
            index = int(rows.index[i])
            text = rule.text % int(rows.word(0)[i]) if "%" in rule.text else rule.text
            yield (
                _Place(index, stage, order=order),
                lambda rule=rule, index=index, text=text: meta_log.rejection(  # type: ignore[misc]
                    rule.name, rows.sight, index, text, rule.form, number=rule.errno
                ),
            )


def _of_entries(rules: tuple[Rule[Entries], ...], entries: Entries) -> Iterator[_Failure]:
    for order, rule in enumerate(rules):
        for i in _first(rule.fails(entries)):
            index = int(entries.owners.index[entries.owner[i]])
            place = int(entries.place[i])
            text = rule.text % int(entries.name_off[i]) if "%" in rule.text else rule.text
            yield (
                _Place(index, 3, entry=i, order=order),
                lambda rule=rule, index=index, text=text, place=place: meta_log.rejection(  # type: ignore[misc]
                    rule.name, entries.owners.sight, index, text, rule.form, place=place, number=rule.errno
                ),
            )
