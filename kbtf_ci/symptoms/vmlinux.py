# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which classes of failure a refusal of vmlinux's own BTF speaks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kbtf_ci.model.symptom import Likelihood
from kbtf_ci.symptoms import names
from kbtf_ci.symptoms.evidence import Boot, Evidence, Group
from kbtf_ci.symptoms.suspects import Suspect

SHOWN, LIKELY, POSSIBLE = Likelihood.SHOWN, Likelihood.LIKELY, Likelihood.POSSIBLE
_NEWER_CHECKS: Final = ("type.kind", "type.info", "header.unknown")


def suspects(boot: Boot, group: Group, evidence: Evidence) -> Iterator[Suspect]:
    """Yield what vmlinux's own BTF was refused for: every module's refusal follows from it."""
    sure = group.complete and (boot.vmlinux_sure or bool(boot.registrations))
    first, second = (SHOWN if sure else LIKELY), (POSSIBLE if group.complete else LIKELY)
    for number, why in ways(group, evidence):
        yield Suspect(number, first, why, tuple(group.lines), ())
        first = second


def ways(group: Group, evidence: Evidence) -> Iterator[tuple[int, str]]:
    """Yield the classes that the records speak for, and why, the likeliest first."""
    rules = group.rules
    if not group.complete:
        yield from _unsaid(evidence)
    elif group.is_variable or any(rule.startswith("datasec.") for rule in rules):
        yield from _datasec(evidence)
    elif any(rule.startswith("member.") and "name" not in rule for rule in rules):
        yield from _members(group, evidence)
    elif any(rule in _NEWER_CHECKS or rule.endswith(".kflag") for rule in rules):
        yield (
            8,
            f"vmlinux's own BTF holds what this kernel does not know ({group.words}): a pahole newer than it "
            f"wrote it",
        )
        yield 27, "or bytes of it were overwritten in memory"
    elif any(rule.startswith(("header.", "sections.", "strings.")) for rule in rules):
        yield (
            27,
            f"vmlinux's BTF as a whole is not sound ({group.words}); pahole does not write that: bytes were "
            f"overwritten",
        )
        yield 22, "or the image was cut short or damaged"
    elif any(rule.endswith("name") for rule in rules):
        yield from _vmlinux_name(group, evidence)
    else:
        yield 15, f"one type of vmlinux's own BTF breaks a rule of the kernel's ({group.words})"
        yield 8, "pahole and kernel may not suit each other"
        yield 27, "or bytes of it were overwritten in memory"


def _unsaid(evidence: Evidence) -> Iterator[tuple[int, str]]:
    """Yield what it can be when the text has left out for what vmlinux's BTF was refused."""
    why = "vmlinux's own BTF was refused: the kernel's own kfuncs failed before any module came"
    ways = [(26, "two variables at one offset, most often"), (8, "or pahole does not suit the kernel")]
    if evidence.has("context.rust"):
        ways.insert(0, (13, "units of Rust in it"))
    for number, what in ways:
        yield number, f"{why}; {what}"


def _datasec(evidence: Evidence) -> Iterator[tuple[int, str]]:
    hint = ""
    if evidence.has("context.clang"):
        hint = (
            "; the text speaks of clang, whose merged globals get one offset (clang 20 and newer, powerpc "
            "and riscv)"
        )
    elif evidence.has("context.gendwarfksyms"):
        hint = "; the text speaks of CONFIG_GENDWARFKSYMS, which did that with pahole 1.28 and 1.29"
    yield (
        26,
        f"a variable of a DATASEC in vmlinux's BTF overlaps the one before it, or leaves its section{hint}",
    )
    yield 27, "or bytes of it were overwritten in memory"


def _members(group: Group, evidence: Evidence) -> Iterator[tuple[int, str]]:
    member = f"member {group.name!r}" if group.name else "a member"
    rust = evidence.has("context.rust")
    if rust or any("order" in rule for rule in group.rules):
        said = "the text speaks of Rust, and " if rust else ""
        yield (
            13,
            f"{member} of a struct in vmlinux lies before the one above it: {said}rustc reorders members",
        )
    yield 15, f"{member} of a struct in vmlinux breaks the rule {' or '.join(group.rules)}"
    if not rust:
        yield 27, "or bytes of it were overwritten in memory"


def _vmlinux_name(group: Group, evidence: Evidence) -> Iterator[tuple[int, str]]:
    kind = names.judge(group)
    if kind is names.Name.FOREIGN or evidence.has("context.rust"):
        yield 13, f"{names.told(group)}: units of Rust (or C++) are in vmlinux's BTF"
        yield 14, "this kernel does not accept such a name"
    elif kind in (names.Name.DOTTED, names.Name.WHOLE):
        yield 14, f"{names.told(group)}, and this kernel does not accept it"
        yield 15, "or pahole should not have encoded it"
    else:
        yield 27, f"vmlinux's own names are not in their place ({names.told(group)}): bytes were overwritten"
        yield 15, "or pahole wrote it so"
