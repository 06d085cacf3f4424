# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the check that a module's BTF failed speaks for, where it is no shift."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from kbtf_ci.model.symptom import Likelihood
from kbtf_ci.symptoms import names
from kbtf_ci.symptoms.evidence import Evidence, Group, Refused
from kbtf_ci.symptoms.messages import Sort
from kbtf_ci.symptoms.suspects import Suspect

SHOWN, LIKELY, POSSIBLE = Likelihood.SHOWN, Likelihood.LIKELY, Likelihood.POSSIBLE


def suspects(one: Refused, evidence: Evidence) -> Iterator[Suspect]:
    """Yield what a module's own records speak for that are no shift."""
    modules = (one.module,) if one.module else ()
    ways = _relocated(one) if one.relocation else _by_rule(one.group or Group(), one, evidence)
    for rank, (number, why) in enumerate(ways):
        yield Suspect(
            number, (SHOWN if one.relocation else LIKELY) if rank == 0 else POSSIBLE, why, one.lines, modules
        )


def _relocated(one: Refused) -> Iterator[tuple[int, str]]:
    line, found = one.relocation[-1]
    name = found.value("name")
    which = f"its type {name!r} " if name else "one of its types "
    if found.message.id == "relocate.ambiguous":
        yield 11, f"{which}fits several of vmlinux's types of one size, and the kernel does not choose"
    elif found.message.id == "relocate.unmapped":
        yield 11, f"{which}is not in this vmlinux with that name, kind and size"
    else:
        yield 11, f"the kernel could not move it to vmlinux's types ({line.text.strip()})"
    yield 4, "the module was built for another kernel or compiler than the one that runs"


_Reading = Callable[[Group, Evidence], Iterator[tuple[int, str]]]


def _by_rule(group: Group, one: Refused, evidence: Evidence) -> Iterator[tuple[int, str]]:
    rules = group.rules
    for starts, ends, way in _RULES:
        if any(rule.startswith(starts) and rule.endswith(ends) for rule in rules):
            yield from way(group, evidence)
            return
    if group.sort is Sort.SYSCALL:
        yield (
            15,
            f"'{group.words}' is said of BTF that user space hands in, never of a module's at load: another "
            f"BTF is meant",
        )
        return
    words = group.words or "the words of the check are not in the text"
    yield 22, f"a type of its BTF breaks a rule of the kernel's: {words}"
    yield 15, "or pahole wrote it so"
    yield 1, "or it was written against another vmlinux"


def _no_data(group: Group, evidence: Evidence) -> Iterator[tuple[int, str]]:
    version = evidence.version
    old = version is not None and version <= (5, 11)
    first, second = (28, 22) if old else (22, 28)
    why = {
        28: "the BTF has a header and no type of its own, which 5.11-rc1 to -rc3 refuse",
        22: "the BTF has nothing behind its header",
    }
    yield first, why[first]
    yield second, why[second]


def _unknown_header(_group: Group, _evidence: Evidence) -> Iterator[tuple[int, str]]:
    yield (
        21,
        "its header is longer than this kernel knows: a pahole with the layout section (7.1 and newer) wrote "
        "it",
    )
    yield 22, "or its first bytes are damaged"


def _frame(group: Group, _evidence: Evidence) -> Iterator[tuple[int, str]]:
    yield (
        22,
        f"header and sections of its BTF do not fit together ({group.words}): it was cut short or damaged",
    )
    yield 15, "or the tool that wrote it broke it (objcopy, pahole)"


def _newer(group: Group, _evidence: Evidence) -> Iterator[tuple[int, str]]:
    yield (
        21,
        f"its BTF holds what this kernel does not know ({group.words}): a newer pahole was told of newer "
        f"features",
    )
    yield 22, "or it is damaged"


def _odd_name(group: Group, _evidence: Evidence) -> Iterator[tuple[int, str]]:
    if names.judge(group) is names.Name.FOREIGN:
        yield 13, names.told(group)
        yield 14, "this kernel does not accept such a name"
    else:
        yield 14, f"{names.told(group)}, and this kernel does not accept it"
        yield 15, "pahole should not have encoded it"


def _member_place(group: Group, evidence: Evidence) -> Iterator[tuple[int, str]]:
    if evidence.has("context.rust"):
        yield 13, f"member {group.name!r} lies before the one above it, as rustc orders them"
    yield (
        15,
        f"member {group.name!r}, a whole name and no shifted one, breaks the rule {' or '.join(group.rules)}",
    )
    yield 22, "or its BTF is damaged"


def _variables(group: Group, _evidence: Evidence) -> Iterator[tuple[int, str]]:
    yield 26, f"a variable of a DATASEC overlaps the one before it, or leaves its section ({group.words})"
    yield 15, "pahole wrote it so"


def _tags(_group: Group, _evidence: Evidence) -> Iterator[tuple[int, str]]:
    yield (
        1,
        "a type tag stands behind a qualifier: type ids are shifted, it was written against another vmlinux",
    )
    yield 15, "or pahole wrote it so"


# By the rule that failed, its beginning and its end; the first that fits.
_RULES: Final[tuple[tuple[str, str, _Reading], ...]] = (
    ("header.unknown", "", _unknown_header),
    ("header.no_data", "", _no_data),
    ("header.", "", _frame),
    ("sections.", "", _frame),
    ("strings.", "", _frame),
    ("type.head", "", _frame),
    ("type.tail", "", _frame),
    ("type.kind", "", _newer),
    ("type.info", "", _newer),
    ("", ".kflag", _newer),
    ("", ".name", _odd_name),
    ("", ".value_name", _odd_name),
    ("member.", "", _member_place),
    ("datasec.", "", _variables),
    ("chain.tag_order", "", _tags),
)
