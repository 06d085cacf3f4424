# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which classes of failure a BTF that the kernel refused at load speaks for."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from kbtf_ci.model.symptom import Likelihood, Line
from kbtf_ci.symptoms import names
from kbtf_ci.symptoms.evidence import Boot, Evidence, Group, Refused
from kbtf_ci.symptoms.messages import Sort
from kbtf_ci.symptoms.suspects import Suspect

ENOTSUPP: Final = 524  # internal to the kernel, C libraries have no name for it
SHOWN, LIKELY, POSSIBLE = Likelihood.SHOWN, Likelihood.LIKELY, Likelihood.POSSIBLE
# A kernel of another build refuses most of what it loads; a stale initramfs has few modules.
_FEW: Final = 2
_NEWER_CHECKS: Final = ("type.kind", "type.info", "header.unknown")
# What is built outside the kernel's tree wherever it is met.
_KNOWN_OUT_OF_TREE = re.compile(
    r"nvidia|vbox|v4l2loopback|zfs$|^spl$|^zzfs|^wl$|vmmon|vmnet|^8\d{3}\w+$|^88x2bu|rtl8|rtw89core|rtw_\d"
    r"|r8125$|r8168$|r8101$"
    r"|xpad|evdi|acpi_call|tuxedo|openrazer|razer|anbox|ashmem_linux|binder_linux|wireguard_dkms|bbswitch"
    r"|xt_ndpi|lkrg|"
    r"falco|scap|sysdig|luaxdp|lunatik|hello|xone|xpadneo|amdgpu_dkms|digimend|ddcci|zenpower|msr_safe|apfs"
    r"|mts$"
)


def suspects(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what every refusal in the text speaks for, boot by boot."""
    for boot in evidence.boots:
        if boot.vmlinux is not None:
            yield from _vmlinux(boot, boot.vmlinux, evidence)
        elif boot.refused:
            yield from _modules(boot, evidence)
        else:
            yield from _unnamed(boot, evidence)
    if evidence.has("btf.mismatch", "btf.mismatch_cut"):
        yield from _allowed(evidence)
    loaded = [one for one in evidence.refused if one.loaded and one.module]
    if loaded:
        why = (
            "the module speaks right after it was refused, so it did load: before 6.3 the kernel says "
            "'failed to validate' with that option too, and goes on"
        )
        yield Suspect(23, LIKELY, why, tuple(one.line for one in loaded[:3]), _names(loaded))


def _vmlinux(boot: Boot, group: Group, evidence: Evidence) -> Iterator[Suspect]:
    """Yield what vmlinux's own BTF was refused for: every module's refusal follows from it."""
    sure = group.complete and (boot.vmlinux_sure or bool(boot.registrations))
    first, second = (SHOWN if sure else LIKELY), (POSSIBLE if group.complete else LIKELY)
    for number, why in _of_vmlinux(group, evidence):
        yield Suspect(number, first, why, tuple(group.lines), ())
        first = second


def _of_vmlinux(group: Group, evidence: Evidence) -> Iterator[tuple[int, str]]:
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


def _modules(boot: Boot, evidence: Evidence) -> Iterator[Suspect]:
    bare = boot.bare
    shifted = [one for one in boot.refused if one.group is not None and _is_stale(one)]
    told = [one for one in boot.refused if one not in bare and one not in shifted]
    if shifted:
        yield from _stale(shifted, evidence)
    for one in told:
        yield from _one(one, evidence)
    if bare:
        yield from _bare(bare, bool(shifted or told), evidence)


def _is_stale(one: Refused) -> bool:
    group = one.group
    if group is None or one.relocation:
        return False
    if "chain.length" in group.rules:
        return True
    return names.shows_shift(group) or (one.errno == 40)


def is_shift(group: Group) -> bool:
    """Whether the records say that strings are looked for in the wrong place."""
    return names.shows_shift(group)


def _lines(refused: list[Refused]) -> tuple[Line, ...]:
    return tuple(line for one in refused[:3] for line in one.lines)


def _names(refused: list[Refused]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.module for one in refused if one.module))


def _stale(refused: list[Refused], evidence: Evidence) -> Iterator[Suspect]:
    """Yield the ways to a module that was written against another vmlinux, the likeliest first."""
    lines, modules = _lines(refused), _names(refused)
    what = _shift(refused)
    for rank, way in enumerate(_ways(refused, evidence)):
        if rank == 0:
            yield Suspect(way.number, LIKELY, f"{what}: {way.why}", lines, modules)
        else:
            yield Suspect(way.number, POSSIBLE, way.why, lines, modules)


def _shift(refused: list[Refused]) -> str:
    groups = [one.group for one in refused if one.group is not None]
    shifted = [group for group in groups if names.shows_shift(group)] or groups
    group = next((one for one in shifted if one.name is not None), shifted[0])
    if "chain.length" in group.rules:
        return (
            "a typedef or qualifier leads back to itself (-40): type ids are shifted by a few, names are in "
            "place, so vmlinux has some types more or fewer than the one the module was written against"
        )
    return names.told(group)


@dataclass(frozen=True)
class _Way:
    """A way to a module that was written against another vmlinux, and how much speaks for it."""

    number: int
    weight: float
    why: str


def _ways(refused: list[Refused], evidence: Evidence) -> list[_Way]:
    """Return the ways that anything speaks for, the likeliest first.

    The weights say no more than which of two ways is met more often where the text shows the same.
    """
    outside = [one for one in refused if _is_outside(one.module, evidence)]
    chains = any(one.group is not None and "chain.length" in one.group.rules for one in refused)
    many = len(refused) > 1
    these = "these modules" if many else "the module"
    image = evidence.has("context.image_build")
    ways = [
        _Way(
            1,
            3.0 + evidence.has("context.upgrade"),
            f"{these} and the kernel that runs are not of one build",
        ),
        _Way(
            2,
            _early(refused, evidence) + 3.2 * chains,
            "the modules in the initramfs may be of an earlier build than the kernel that was booted",
        ),
        _Way(
            3,
            3.5 * image or 2.0 * evidence.has("context.system_build"),
            "the build may have linked vmlinux again after it made the image that is booted",
        ),
        _Way(
            4,
            (4.5 if len(outside) == len(refused) else 1.0 * bool(outside))
            + evidence.has("context.copied_vmlinux"),
            "the module is not of the kernel's tree, and was encoded against some other vmlinux",
        ),
        _Way(
            12,
            1.5 * (bool(outside) and evidence.has("context.distilled")),
            "it may have been encoded over a distilled base that this kernel does not use",
        ),
        _Way(25, 0.6 * (not many and not outside), "it may have been built alone and copied over"),
        _Way(22, 0.3 * (not many), "a damaged file can look like this too, if only one module is refused"),
        _Way(34, 0.2 * many, "the two builds may be of one source and differ in order alone (pahole -j)"),
    ]
    return sorted((way for way in ways if way.weight > 0), key=lambda way: -way.weight)


def _early(refused: list[Refused], evidence: Evidence) -> float:
    """Say how much speaks for the initramfs: refused before the root file system was there."""
    if not evidence.has("context.initramfs", "context.in_initramfs"):
        return 0.0
    mounted = evidence.quoted("context.root_mounted")
    last = max(one.line.number for one in refused)
    early = evidence.has("context.in_initramfs") and (not mounted or last < mounted[0].number)
    if early and len(refused) <= _FEW:
        return 3.2
    return 1.5 if early or evidence.has("effect.emergency") else 0.8


def _is_outside(module: str, evidence: Evidence) -> bool:
    name = module.replace("-", "_")
    return name in evidence.out_of_tree or _KNOWN_OUT_OF_TREE.search(name) is not None


def _one(one: Refused, evidence: Evidence) -> Iterator[Suspect]:
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


# Errnos that one kind of check alone gives.
_BY_ERRNO: Final = {
    errno.ENOENT: (11, "-2 is said of a distilled base whose strings do not fit"),
    errno.E2BIG: (21, "-7 is said of a header that is longer than this kernel knows"),
    errno.ELOOP: (2, "-40 is said of type ids that are shifted while names are in place"),
    ENOTSUPP: (22, "-524 is said of a version, flag or encoding that no pahole writes"),
}


def _bare(refused: list[Refused], others_told: bool, evidence: Evidence) -> Iterator[Suspect]:
    """Yield what refusals without any record speak for, which a filtered text gives as well."""
    lines, modules = _lines(refused), _names(refused)
    errnos = {one.errno for one in refused}
    if len(errnos) == 1 and errnos <= _BY_ERRNO.keys():
        number, why = _BY_ERRNO[errnos.pop()]
        yield Suspect(number, LIKELY, why, lines, modules)
        yield Suspect(1, POSSIBLE, "module and kernel may not be of one build", lines, modules)
        return
    if len(refused) > 1 and len(errnos) == 1 and not others_told:
        yield from _all_alike(refused, evidence)
        return
    build = (1, "module and kernel are not of one build")
    other = (4, "it is not of the kernel's tree, and was encoded against some other vmlinux")
    first, second = (build, other)
    if all(_is_outside(one.module, evidence) for one in refused):
        first, second = other, build
    why = "the kernel refused it, and the text does not say by which check: most often"
    yield Suspect(first[0], POSSIBLE, f"{why} {first[1]}", lines, modules)
    yield Suspect(second[0], POSSIBLE, f"or {second[1]}", lines, modules)
    if errno.EINVAL in errnos:
        why = "-22 without any BPF: line is what a qualifier gives that leads to a type which is not there"
        yield Suspect(15, POSSIBLE, why, lines, modules)


def _all_alike(refused: list[Refused], evidence: Evidence) -> Iterator[Suspect]:
    lines, modules = _lines(refused), _names(refused)
    many = (
        f"{len(refused)} modules are refused with one errno ({-refused[0].errno}) and without a BPF: line "
        "of their own"
    )
    stale = Suspect(
        1,
        LIKELY,
        f"{many}: if the lines were left out of the text, kernel and modules are not of one build",
        lines,
        modules,
    )
    own = Suspect(
        8,
        LIKELY,
        f"{many}: if there are none, vmlinux's own BTF was refused, early in the boot and once",
        lines,
        modules,
    )
    yield from (stale, own)
    if evidence.has("context.system_build"):
        yield Suspect(3, POSSIBLE, "a build can link vmlinux again after it made the image", lines, modules)
    if evidence.has("context.rust"):
        yield Suspect(
            13, POSSIBLE, "the text speaks of Rust, whose units made vmlinux's BTF invalid", lines, modules
        )
    yield Suspect(26, POSSIBLE, "or vmlinux's BTF has two variables at one offset", lines, modules)
    if evidence.has("pahole.version", "theory.dwarf5"):
        yield Suspect(
            15, POSSIBLE, "pahole may have written broken BTF; nothing in the text proves it", lines, modules
        )


def _unnamed(boot: Boot, evidence: Evidence) -> Iterator[Suspect]:
    """Yield what records speak for that belong to nobody in the text."""
    groups = [group for group in boot.groups if group.complete]
    several = any(not group.same_as(groups[0]) for group in groups)
    for group in groups[:3]:
        lines = tuple(group.lines)
        if group.in_prose:
            why = f"the text speaks of '{group.words}' and does not show the kernel's lines"
            yield Suspect(1, POSSIBLE, f"{why}: most often module and kernel are not of one build", lines)
            yield Suspect(8, POSSIBLE, f"{why}: vmlinux's own BTF may have been refused", lines)
        elif several:
            why = "several types are refused, and vmlinux's BTF is looked at once: they are modules'"
            yield Suspect(1 if names.shows_shift(group) else 15, LIKELY, f"{why}; {names.told(group)}", lines)
        else:
            for rank, (number, told) in enumerate(_of_vmlinux(group, evidence)):
                yield Suspect(number, POSSIBLE if rank else LIKELY, told, lines)


def _allowed(evidence: Evidence) -> Iterator[Suspect]:
    lines = evidence.quoted("btf.mismatch", "btf.mismatch_cut")
    yield Suspect(
        23, SHOWN, "the kernel says so, once a boot, and names no module: it loads, without its BTF", lines
    )
    if evidence.out_of_tree or evidence.has("context.dkms"):
        which = ", ".join(sorted(evidence.out_of_tree)) or "the module that was built"
        yield Suspect(
            4,
            POSSIBLE,
            f"of an out-of-tree module ({which}) the BTF was encoded against another vmlinux",
            lines,
            tuple(sorted(evidence.out_of_tree)),
        )
    yield Suspect(1, POSSIBLE, "below it lies a module whose BTF belongs to another build", lines)
    yield Suspect(27, POSSIBLE, "or vmlinux's own BTF was refused, and no module has BTF", lines)
