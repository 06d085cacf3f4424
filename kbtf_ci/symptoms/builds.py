# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which classes of failure a build log speaks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
# libbpf's answers for a file without BTF, and for BTF that it cannot read.
_WITHOUT = re.compile(
    r"No such file|No data available|No such process|-2\b|-61\b|-3\b|没有|Datei|No sush|sush", re.IGNORECASE
)
_UNREADABLE = re.compile(
    r"Invalid argument|Unknown error -?22|-22\b|Operation not supported|Unknown error -?\d+", re.IGNORECASE
)
_SAID_WHY: Final = (
    "pahole.failed", "pahole.dedup", "pahole.write", "pahole.options", "pahole.reference_type", "build.segfault",
    "build.no_pahole", "build.killed", "build.oom", "build.disk",
)  # fmt: skip


def suspects(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what the build's lines speak for."""
    for part in (_tools, _base, _encoder, _killed, _load, _finish, _ids, _skipped):
        yield from part(evidence)


def _tools(evidence: Evidence) -> Iterator[Suspect]:
    if evidence.has("build.pahole_denied"):
        yield Suspect(
            30, SHOWN, "what PAHOLE names cannot be executed", evidence.quoted("build.pahole_denied")
        )
    if evidence.has("build.awk"):
        sure = SHOWN if _at_btf_step(evidence) else POSSIBLE
        yield Suspect(
            30,
            sure,
            "what PAHOLE names is a command line that the shell takes apart (awk complains at the BTF step)",
            evidence.quoted("build.awk"),
        )
    if evidence.has("build.no_resolve_btfids"):
        yield Suspect(
            6,
            SHOWN,
            "vmlinux is at hand, and resolve_btfids, which the rule for a module's BTF calls next, is not",
            evidence.quoted("build.no_resolve_btfids"),
        )
    if evidence.has("build.no_pahole"):
        yield Suspect(
            6, SHOWN, "pahole is not installed, or not where PAHOLE says", evidence.quoted("build.no_pahole")
        )


def _at_btf_step(evidence: Evidence) -> bool:
    return evidence.has("build.btf_step", "build.error_126", "build.pahole_denied")


def _base(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what is wrong with the vmlinux that modules are encoded against."""
    if evidence.has("pahole.base_file"):
        yield Suspect(
            29,
            SHOWN,
            "pahole cannot read the vmlinux that it is given as a whole ELF file (-4001 is libelf's)",
            evidence.quoted("pahole.base_file", "pahole.base_btf"),
        )
        return
    kinds = evidence.has("reader.kind")
    if evidence.has("pahole.base_btf"):
        why = "pahole cannot read vmlinux's BTF: a newer pahole wrote it"
        yield Suspect(7, SHOWN if kinds else LIKELY, why, evidence.quoted("pahole.base_btf", "reader.kind"))
        yield Suspect(29, POSSIBLE, "or build/vmlinux is damaged", evidence.quoted("pahole.base_btf"))
    elif kinds:
        kind = evidence.seen["reader.kind"].found[0]
        number = kind.value("kind") or kind.value("other")
        enum64 = " (ENUM64, which libbpf 1.0 and pahole 1.24 read)" if number == "19" else ""
        yield Suspect(
            7,
            SHOWN,
            f"the reader's libbpf does not know kind {number}{enum64}",
            evidence.quoted("reader.kind"),
        )


def _encoder(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what pahole itself complains of."""
    if evidence.has("pahole.reference_type"):
        yield Suspect(
            14,
            SHOWN,
            "an object of C++ is linked into the module, and pahole encodes C alone",
            evidence.quoted("pahole.reference_type"),
        )
    if evidence.has("pahole.dedup"):
        lines = evidence.quoted("pahole.dedup")
        yield Suspect(
            8,
            LIKELY,
            "pahole cannot merge this kernel's types: it is too old for the compiler or the kernel",
            lines,
        )
        yield Suspect(15, POSSIBLE, "a fault of that pahole's", lines)
    if evidence.has("pahole.options"):
        yield Suspect(
            8,
            SHOWN,
            "pahole does not know an option that this kernel's build gives it",
            evidence.quoted("pahole.options"),
        )
    if evidence.has("build.segfault"):
        yield Suspect(15, SHOWN, "pahole crashed", evidence.quoted("build.segfault"))
    if evidence.has("pahole.write", "build.disk") and evidence.has("pahole.write"):
        disk = ": the disk is full" if evidence.has("build.disk") else ""
        yield Suspect(
            15,
            SHOWN,
            f"pahole could not put the .BTF section into the file{disk}",
            evidence.quoted("pahole.write", "build.objcopy", "build.disk"),
        )
    if evidence.has("pahole.failed") and not evidence.has("pahole.reference_type"):
        yield Suspect(15, LIKELY, "pahole ended with an error of its own", evidence.quoted("pahole.failed"))
        yield Suspect(
            8,
            POSSIBLE,
            "it may be too old or too new for this kernel or compiler",
            evidence.quoted("pahole.failed"),
        )


def _killed(evidence: Evidence) -> Iterator[Suspect]:
    if not evidence.has("build.killed", "build.oom"):
        return
    victims = [found.value("what") or found.value("task") for found in
               (evidence.seen["build.oom"].found if "build.oom" in evidence.seen else [])]  # fmt: skip
    named = any("pahole" in victim for victim in victims)
    if not (named or evidence.has("ids.load", "build.btf_step", "pahole.failed", "build.failed_for_vmlinux")):
        return
    why = (
        "the OOM killer's victim is pahole" if named else "a step of the build was killed, where BTF is made"
    )
    yield Suspect(
        33,
        SHOWN if named or evidence.has("ids.load") else LIKELY,
        why,
        evidence.quoted("build.oom", "build.killed"),
    )


def _load(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what resolve_btfids found in place of vmlinux's BTF: the fault is with the step before."""
    if not evidence.has("ids.load", "ids.no_section"):
        return
    lines = evidence.quoted("ids.load", "ids.no_section")
    why = " ".join(found.value("why") for id_ in ("ids.load",) for found in _found(evidence, id_))
    told = evidence.has(*_SAID_WHY)
    if evidence.has("build.no_pahole"):
        yield Suspect(6, SHOWN, "so that vmlinux has no BTF for resolve_btfids to read", lines)
    elif _UNREADABLE.search(why) and not _WITHOUT.search(why) and not evidence.has("ids.no_section"):
        yield from _unreadable(evidence, lines, told=told)
    else:
        yield from _nothing_written(evidence, lines, told=told)


def _found(evidence: Evidence, id_: str) -> list[Found]:
    return evidence.seen[id_].found if id_ in evidence.seen else []


def _unreadable(evidence: Evidence, lines: tuple[Line, ...], *, told: bool) -> Iterator[Suspect]:
    if not told or evidence.has("pahole.options"):
        yield Suspect(
            8,
            LIKELY,
            "vmlinux has BTF, and this tree's own libbpf cannot read it: pahole is newer than the kernel",
            lines,
        )
    else:
        yield Suspect(15, LIKELY, "what pahole left behind when it failed is no BTF", lines)
        yield Suspect(8, POSSIBLE, "pahole and kernel may not suit each other", lines)
    yield Suspect(33, POSSIBLE, "or pahole was killed while it wrote", lines)


def _nothing_written(evidence: Evidence, lines: tuple[Line, ...], *, told: bool) -> Iterator[Suspect]:
    killed = evidence.has("build.killed", "build.oom")
    if killed or not told:
        yield Suspect(
            33,
            LIKELY,
            "resolve_btfids finds no BTF, and the step before said nothing: pahole was killed, for want of "
            "memory most often",
            lines,
        )
    if not killed:
        yield Suspect(
            8 if told else 6,
            POSSIBLE,
            "pahole does not suit the kernel" if told else "or there is no pahole, or one that does nothing",
            lines,
        )
        yield Suspect(15, LIKELY if told else POSSIBLE, "pahole failed, and left no BTF", lines)
    if not told:
        yield Suspect(8, POSSIBLE, "or the pahole does not suit the kernel", lines)


def _finish(evidence: Evidence) -> Iterator[Suspect]:
    if evidence.has("ids.permute"):
        yield Suspect(
            20, SHOWN, "resolve_btfids could not sort or distil the BTF", evidence.quoted("ids.permute")
        )
    elif evidence.has("build.objcopy") and not evidence.has("pahole.write"):
        sure = LIKELY if evidence.has("build.failed_for_vmlinux", "ids.load", "build.btf_step") else POSSIBLE
        yield Suspect(
            20, sure, "objcopy could not put the BTF into the file", evidence.quoted("build.objcopy")
        )
    if evidence.has("build.failed_for_vmlinux") and not evidence.has(*_SAID_WHY, "ids.permute", "ids.load"):
        lines = evidence.quoted("build.failed_for_vmlinux")
        yield Suspect(
            15,
            POSSIBLE,
            "BTF for vmlinux was not made, and the line before that says why is not in the text",
            lines,
        )
        yield Suspect(6, POSSIBLE, "pahole may be missing", lines)
        yield Suspect(20, POSSIBLE, "from 7.0 on, resolve_btfids may have failed", lines)
    other = [line for id_, one in evidence.seen.items() if id_.startswith("ids:FAILED") or id_.startswith("ids:ERROR")
             for line in one.lines]  # fmt: skip
    if other:
        yield Suspect(20, LIKELY, "resolve_btfids ended with an error of its own", tuple(other))


def _ids(evidence: Evidence) -> Iterator[Suspect]:
    ids = ("ids.unresolved", "ids.no_symbol", "ids.no_func")
    if evidence.has(*ids):
        symbols = dict.fromkeys(found.value("symbol") for id_ in ids for found in _found(evidence, id_))
        yield Suspect(32, SHOWN, f"not in the BTF: {', '.join(symbols)}", evidence.quoted(*ids))


def _skipped(evidence: Evidence) -> Iterator[Suspect]:
    if not evidence.has("build.skipped"):
        return
    wanted = evidence.has("btf.no_module_btf", "reader.no_module_btf")
    why = "the build had no vmlinux, and left the module's BTF out"
    yield Suspect(
        5,
        SHOWN if wanted else HARMLESS,
        why if wanted else f"{why}: it loads all the same",
        evidence.quoted("build.skipped"),
    )
