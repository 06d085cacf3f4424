# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a name that the kernel quotes tells: a whole word, or the tail of another, as shifted offsets give."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from kbtf_ci.symptoms.evidence import Group


class Name(Enum):
    """What a quoted name looks like."""

    EMPTY = "empty"  # the offset hits the end of a string
    TAIL = "tail"  # it begins in the middle of one
    FOREIGN = "foreign"  # whole, of another language, and no identifier of C's
    DOTTED = "dotted"  # whole, with a dot: refused before 6.4
    WHOLE = "whole"


# What rustc, C++ and Zig put into names, and C never does.
_FOREIGN = re.compile(r"^[A-Za-z_][\w:]*[<{(&*]|::|^\{|<impl |closure[-#_{]|^&|dyn |enum\$<|^[\w]+<.*>?$")
_IDENTIFIER = re.compile(r"[A-Za-z_.][\w.]*$")
# Names of C's with a dot that compilers make: of sanitizers, and of clones.
_DOTTED = re.compile(
    r"(?:[at]san|msan|kcsan|kasan)\.module_[cd]tor$|[A-Za-z_]\w*\.(?:constprop|isra|part|cold|llvm)\.?\d*"
)
_SHORT: Final = 3


def judge(group: Group) -> Name:
    """Return what the name that a group of records quotes looks like.

    An ENUM whose own name would pass is refused for one of its enumerators': the kernel prints the type's
    name, and an enumerator is no identifier only where all of its strings are others'.
    """
    name = group.name or ""
    if not name:
        return Name.EMPTY
    if name == "(anon)":
        return Name.WHOLE
    if _FOREIGN.search(name):
        return Name.FOREIGN
    if _DOTTED.match(name):
        return Name.DOTTED
    if not _IDENTIFIER.match(name) or name.startswith("."):
        return Name.TAIL
    return _plausible(name, group.kind)


def _plausible(name: str, kind: str) -> Name:
    """Judge a name that is an identifier."""
    if ".." in name or name.endswith("."):
        return Name.TAIL
    if kind in ("STRUCT", "UNION", "ENUM", "ENUM64", "FUNC", "TYPEDEF", "FWD") and (
        name.isupper() or len(name) < _SHORT
    ):
        # Types and functions of the kernel are written small; enumerators and macros are not.
        return Name.TAIL
    return Name.DOTTED if "." in name else Name.WHOLE


def shows_shift(group: Group) -> bool:
    """Whether the records say that strings are looked for in the wrong place."""
    rules = group.rules
    if any(rule.endswith("name_offset") for rule in rules):
        return True
    if not any(rule.endswith("name") for rule in rules):
        return False
    kind = judge(group)
    enumerators = group.kind in ("ENUM", "ENUM64") and kind in (Name.WHOLE, Name.DOTTED)
    nameless = group.name is None
    return kind in (Name.TAIL, Name.EMPTY) or enumerators or nameless


def told(group: Group) -> str:
    """Return what the name says, as a clause for a person."""
    name, kind = group.name, judge(group)
    if any(rule.endswith("name_offset") for rule in group.rules):
        return "a name lies beyond the end of all strings: the BTF was written over a longer string table"
    if name is None:
        return "the line that quotes the name is not in the text"
    if group.kind in ("ENUM", "ENUM64") and kind in (Name.WHOLE, Name.DOTTED):
        return f"{name!r} would pass: what it refuses is an enumerator's name, so the strings are others'"
    return _TOLD[kind].format(name)


_TOLD: Final = {
    Name.EMPTY: "the name it quotes is empty: the offset hits the end of another string",
    Name.TAIL: "the name it quotes, '{}', is the tail of another word: string offsets are shifted",
    Name.FOREIGN: "'{}' is a whole name of another language, not a shifted one",
    Name.DOTTED: "'{}' is a whole name with a dot, not the tail of another word",
    Name.WHOLE: "'{}' is a whole name, not the tail of another word",
}
