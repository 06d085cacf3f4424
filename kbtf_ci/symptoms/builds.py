# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which classes of failure a build log speaks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kbtf_ci.model.symptom import Likelihood, Line
from kbtf_ci.symptoms.evidence import Evidence
from kbtf_ci.symptoms.messages import Found
from kbtf_ci.symptoms.suspects import Suspect

SHOWN, LIKELY, POSSIBLE, HARMLESS = (
    Likelihood.SHOWN,
    Likelihood.LIKELY,
    Likelihood.POSSIBLE,
    Likelihood.HARMLESS,
)


@dataclass(frozen=True)
class _Sign:
    """A class that one of ``ids`` speaks for, unless one of ``unless`` is in the text as well."""

    ids: tuple[str, ...]
    number: int
    likelihood: Likelihood
    why: str
    unless: tuple[str, ...] = ()


# What pahole or the system says itself when the encoder fails.
_SAID_WHY: Final = (
    "pahole.failed",
    "pahole.dedup",
    "pahole.write",
    "pahole.options",
    "pahole.unsupported_tag",
    "build.segfault",
    "build.no_pahole",
    "build.killed",
    "build.oom",
    "build.disk",
)
_PARTICULAR: Final = tuple(
    id_ for id_ in _SAID_WHY if id_ not in ("pahole.failed", "build.killed", "build.oom")
)

_SIGNS: Final = (
    _Sign(("build.pahole_denied",), 30, SHOWN, "what PAHOLE names cannot be executed"),
    _Sign(
        ("build.awk",),
        30,
        LIKELY,
        "what PAHOLE names is a command line that the shell takes apart: awk complains where pahole should "
        "run",
    ),
    _Sign(
        ("build.no_resolve_btfids",),
        6,
        SHOWN,
        "vmlinux is at hand, and resolve_btfids, which the rule for a module's BTF calls next, is not",
    ),
    _Sign(("build.no_pahole",), 6, SHOWN, "pahole is not installed, or not where PAHOLE says"),
    _Sign(
        ("pahole.base_file",),
        29,
        SHOWN,
        "pahole cannot read the vmlinux it is given as a whole ELF file (-4001 is libelf's)",
    ),
    _Sign(
        ("pahole.base_btf",),
        7,
        LIKELY,
        "pahole cannot read vmlinux's BTF: a newer one wrote it",
        ("pahole.base_file",),
    ),
    _Sign(
        ("pahole.base_btf",), 29, POSSIBLE, "or build/vmlinux is damaged", ("pahole.base_file", "reader.kind")
    ),
    _Sign(
        ("pahole.dedup",),
        8,
        LIKELY,
        "pahole cannot merge this kernel's types: it is too old for the compiler or the kernel",
    ),
    _Sign(("pahole.dedup",), 15, POSSIBLE, "or it is a fault of that pahole's"),
    _Sign(("pahole.options",), 8, SHOWN, "pahole does not know an option that this kernel's build gives it"),
    _Sign(("build.segfault",), 15, SHOWN, "pahole crashed"),
    _Sign(("pahole.write",), 15, SHOWN, "pahole could not put the .BTF section into the file"),
    _Sign(("pahole.failed",), 15, LIKELY, "pahole ended with an error of its own", _PARTICULAR),
    _Sign(
        ("pahole.failed",),
        8,
        POSSIBLE,
        "it may be too old or too new for this kernel or compiler",
        _PARTICULAR,
    ),
    _Sign(("ids.permute",), 20, SHOWN, "resolve_btfids could not sort, merge or distil the BTF"),
    _Sign(
        ("build.objcopy",),
        20,
        LIKELY,
        "objcopy could not put the BTF into the file",
        ("ids.permute", *_SAID_WHY),
    ),
    _Sign(
        ("build.failed_for_vmlinux",),
        15,
        POSSIBLE,
        "BTF for vmlinux was not made, and the line before that says why is not in the text",
        (*_SAID_WHY, "ids.permute", "ids.load", "build.objcopy"),
    ),
    _Sign(
        ("build.failed_for_vmlinux",),
        6,
        POSSIBLE,
        "pahole may be missing",
        (*_SAID_WHY, "ids.permute", "ids.load", "build.objcopy"),
    ),
)

# What pahole says that it cannot encode, by what follows DW_TAG_. C++ alone has these three.
_CPP: Final = (14, SHOWN, "an object of C++ is linked into the module, and pahole encodes C alone")
_NEWER_DWARF: Final = (15, LIKELY, "pahole does not know DW_TAG_{}: it is older than what wrote this DWARF")
_TAGS: Final = {
    "reference_type": _CPP,
    "rvalue_reference_type": _CPP,
    "ptr_to_member_type": _CPP,
    "unspecified_type": (
        15,
        SHOWN,
        # dwarves bcc648a10cbc, in 1.25
        "pahole before 1.25 cannot encode DW_TAG_unspecified_type, by which binutils 2.40 and newer say "
        "what a function of assembler returns",
    ),
}

# libbpf's answers for a file without BTF, and for BTF that it cannot read.
_WITHOUT = re.compile(r"No such file|No data available|No such process|-2\b|-61\b|-3\b", re.IGNORECASE)
_UNREADABLE = re.compile(r"Invalid argument|Unknown error|-22\b|not supported", re.IGNORECASE)


def suspects(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what the build's lines speak for."""
    for sign in _SIGNS:
        if evidence.has(*sign.ids) and not evidence.has(*sign.unless):
            yield Suspect(sign.number, sign.likelihood, sign.why, evidence.quoted(*sign.ids))
    for part in (_tags, _kinds, _killed, _load, _resolve_btfids, _skipped):
        yield from part(evidence)


def _found(evidence: Evidence, id_: str) -> list[Found]:
    return evidence.seen[id_].found if id_ in evidence.seen else []


def _tags(evidence: Evidence) -> Iterator[Suspect]:
    for tag in dict.fromkeys(found.value("tag") for found in _found(evidence, "pahole.unsupported_tag")):
        number, sure, why = _TAGS.get(tag, _NEWER_DWARF)
        yield Suspect(number, sure, why.format(tag), evidence.quoted("pahole.unsupported_tag"))


def _kinds(evidence: Evidence) -> Iterator[Suspect]:
    for found in _found(evidence, "reader.kind")[:1]:
        number = found.value("kind") or found.value("other")
        enum64 = " (ENUM64, which libbpf 1.0 and pahole 1.24 read)" if number == "19" else ""
        why = f"the reader's libbpf does not know kind {number}{enum64}"
        yield Suspect(7, SHOWN, why, evidence.quoted("reader.kind"))


def _killed(evidence: Evidence) -> Iterator[Suspect]:
    if not evidence.has("build.killed", "build.oom"):
        return
    victims = [found.value("what") or found.value("task") for found in _found(evidence, "build.oom")]
    named = any("pahole" in victim for victim in victims)
    at_btf = evidence.has("ids.load", "build.btf_step", "pahole.failed", "build.failed_for_vmlinux")
    if named or at_btf:
        why = (
            "the OOM killer's victim is pahole"
            if named
            else "a step of the build was killed, where BTF is made"
        )
        sure = SHOWN if named or evidence.has("ids.load") else LIKELY
        yield Suspect(33, sure, why, evidence.quoted("build.oom", "build.killed"))


def _load(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what resolve_btfids found in place of vmlinux's BTF: the fault is with the step before."""
    if not evidence.has("ids.load", "ids.no_section"):
        return
    lines = evidence.quoted("ids.load", "ids.no_section")
    why = " ".join(found.value("why") for found in _found(evidence, "ids.load"))
    told = evidence.has(*_SAID_WHY)
    if evidence.has("build.no_pahole"):
        yield Suspect(6, SHOWN, "so that vmlinux has no BTF for resolve_btfids to read", lines)
    elif _UNREADABLE.search(why) and not _WITHOUT.search(why) and not evidence.has("ids.no_section"):
        yield from _unreadable(lines, told=told)
    else:
        yield from _nothing_written(evidence, lines, told=told)


def _unreadable(lines: tuple[Line, ...], *, told: bool) -> Iterator[Suspect]:
    if told:
        yield Suspect(15, POSSIBLE, "what pahole left behind when it failed is no BTF", lines)
        yield Suspect(8, POSSIBLE, "pahole and kernel may not suit each other", lines)
        return
    why = "vmlinux has BTF, and this tree's own libbpf cannot read it: pahole is newer than the kernel"
    yield Suspect(8, LIKELY, why, lines)
    yield Suspect(33, POSSIBLE, "or pahole was killed while it wrote", lines)


def _nothing_written(evidence: Evidence, lines: tuple[Line, ...], *, told: bool) -> Iterator[Suspect]:
    killed = evidence.has("build.killed", "build.oom")
    if told and not killed:
        yield Suspect(15, POSSIBLE, "pahole failed, and left no BTF", lines)
        return
    silent = killed or evidence.has("build.btf_step")
    why = "resolve_btfids finds no BTF, and pahole said nothing: it was killed, for want of memory most often"
    yield Suspect(33, LIKELY if silent else POSSIBLE, why, lines)
    if not killed:
        yield Suspect(6, POSSIBLE, "or there is no pahole, or one that does nothing", lines)
        yield Suspect(8, POSSIBLE, "or the pahole does not suit the kernel", lines)
        yield Suspect(15, POSSIBLE, "or pahole failed, and its words are not in the text", lines)


def _resolve_btfids(evidence: Evidence) -> Iterator[Suspect]:
    other = [
        line
        for id_, one in evidence.seen.items()
        if id_.startswith(("ids:FAILED", "ids:ERROR"))
        for line in one.lines
    ]
    if other:
        yield Suspect(20, LIKELY, "resolve_btfids ended with an error of its own", tuple(other))
    ids = ("ids.unresolved", "ids.no_symbol", "ids.no_func")
    if evidence.has(*ids):
        symbols = dict.fromkeys(found.value("symbol") for id_ in ids for found in _found(evidence, id_))
        yield Suspect(32, SHOWN, f"not in the BTF: {', '.join(symbols)}", evidence.quoted(*ids))


def _skipped(evidence: Evidence) -> Iterator[Suspect]:
    if evidence.has("build.skipped"):
        wanted = evidence.has("btf.no_module_btf", "reader.no_module_btf")
        why = "the build had no vmlinux, and left the module's BTF out"
        lines = evidence.quoted("build.skipped")
        if wanted:
            yield Suspect(5, SHOWN, why, lines)
        else:
            yield Suspect(5, HARMLESS, f"{why}: it loads all the same", lines)
