# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Evidence -> a diagnosis: causes in order, what follows, what is no matter of BTF, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kbtf_ci.model.symptom import Cause, Conclusion, Diagnosis, Likelihood, Line, Refusal, Remark
from kbtf_ci.symptoms import builds, names, refusals, uses
from kbtf_ci.symptoms.evidence import VMLINUX, Boot, Evidence, Group, Refused
from kbtf_ci.symptoms.messages import Sort
from kbtf_ci.symptoms.suspects import ranked

_SURE: Final = (Likelihood.SHOWN, Likelihood.LIKELY)
# What the loader finds before it looks at BTF; the first of them comes of BTF's configuration.
_BY_BTF: Final = 9
_BEFORE_BTF: Final = (_BY_BTF, 10)
_HIDES: Final = 23
_NONE: Final = "Nothing here shows BTF at fault"
_MANY: Final = 3
# Only from a log that begins at the start of a boot can it be said what is not in it.
_EARLY_SECONDS: Final = 5.0


def judge(evidence: Evidence, boots: int) -> Diagnosis:
    """Return what comes of the evidence; ``boots`` are those in the text."""
    found = [*refusals.suspects(evidence), *builds.suspects(evidence), *uses.suspects(evidence)]
    causes = ranked(found)
    conclusion = _conclusion(evidence, causes)
    told = tuple(_refusals(evidence))
    return Diagnosis(
        conclusion=conclusion,
        summary=_summary(conclusion, causes, told),
        boots=boots,
        kernels=tuple(evidence.kernels),
        refusals=told,
        causes=causes,
        consequences=tuple(_consequences(evidence, causes)),
        elsewhere=tuple(_elsewhere(evidence)),
        contradictions=tuple(_contradictions(evidence)),
        missing=tuple(_missing(evidence, causes, conclusion)),
    )


def _conclusion(evidence: Evidence, causes: tuple[Cause, ...]) -> Conclusion:
    at_fault = [cause for cause in causes if cause.likelihood is not Likelihood.HARMLESS]
    if not at_fault or not _is_btfs(evidence, at_fault[0]):
        return Conclusion.NOT_SHOWN if _has_log(evidence) else Conclusion.NO_LOG
    first = at_fault[0].likelihood
    # That a mismatch is allowed is no rival: it hides another cause.
    rivals = [cause for cause in at_fault if cause.likelihood is first and cause.number != _HIDES]
    sure = first is Likelihood.SHOWN or (first is Likelihood.LIKELY and len(rivals) <= 1)
    return Conclusion.EXPLAINED if sure else Conclusion.IN_DOUBT


def _is_btfs(evidence: Evidence, first: Cause) -> bool:
    """Whether BTF failed, and is not just spoken of.

    A struct module of another size is no fault of BTF's unless something leads back to it.
    """
    if first.number in _BEFORE_BTF:
        return first.number == _BY_BTF
    return _btf_failed(evidence)


def _btf_failed(evidence: Evidence) -> bool:
    """Whether any line says that something went wrong with BTF, and not just that it is spoken of."""
    sorts = (
        Sort.REFUSED,
        Sort.DROPPED,
        Sort.RELOCATION,
        Sort.REGISTRATION,
        Sort.SYSFS,
        Sort.LAYOUT,
        Sort.READER,
        Sort.BUILD,
    )
    return (
        bool(evidence.boots) or any(evidence.of_sort(sort) for sort in sorts) or evidence.has("tool.invalid")
    )


def _has_log(evidence: Evidence) -> bool:
    if evidence.log_lines or evidence.boots or evidence.has("context.kernel_line", "context.kernel"):
        return True
    return any(one.found[0].message.sort is not Sort.EFFECT for one in evidence.seen.values())


def _summary(conclusion: Conclusion, causes: tuple[Cause, ...], told: tuple[Refusal, ...]) -> str:
    if conclusion is Conclusion.NO_LOG:
        return f"{_NONE}: there is no line of a kernel or of a kernel's build in this text"
    if conclusion is Conclusion.NOT_SHOWN:
        return _NONE
    names = list(dict.fromkeys(one.module for one in told if one.module))
    if VMLINUX in names:
        names = [VMLINUX]
    whose = (
        f"{', '.join(names[:_MANY])}{f' and {len(names) - _MANY} more' if len(names) > _MANY else ''}: "
        if names
        else ""
    )
    doubt = "" if conclusion is Conclusion.EXPLAINED else " (in doubt)"
    return f"{whose}class {causes[0].number}, {causes[0].name}{doubt}"


def _refusals(evidence: Evidence) -> Iterator[Refusal]:
    for boot in evidence.boots:
        if boot.vmlinux is not None:
            yield _of_vmlinux(boot, boot.vmlinux)
        for one in boot.refused:
            yield _of_module(one)
        if boot.vmlinux is None and not boot.refused:
            yield from (_of_nobody(group) for group in boot.groups if group.complete)


def _of_vmlinux(boot: Boot, group: Group) -> Refusal:
    errno = boot.refused[0].errno if boot.refused else 0
    return Refusal(VMLINUX, errno, group.rules, group.words, tuple(group.lines))


def _of_module(one: Refused) -> Refusal:
    group = one.group
    rules = group.rules if group is not None else ()
    words = group.words if group is not None else ""
    if one.relocation:
        line, found = one.relocation[-1]
        rules, words = found.message.checks, line.text.strip()
    return Refusal(one.module, one.errno, rules, words, one.lines, one.times, one.loaded)


def _of_nobody(group: Group) -> Refusal:
    return Refusal("", 0, group.rules, group.words, tuple(group.lines))


_EFFECTS: Final = {
    "effect.emergency": "the boot ends in emergency mode because modules are missing",
    "effect.root": "the root file system is not found because its driver is missing",
    "effect.dracut": "dracut waits for a device whose driver is missing",
    "effect.systemd_modules": "systemd tells of the modules that were refused",
    "effect.docker": "containers lack the modules that were refused (veth, bridge, overlay, tables)",
    "effect.fuse": "fuse is a module, and is missing",
    "effect.mount": "a file system or its character set is a module, and is missing",
    "effect.zram": "zram is a module, and is missing",
    "effect.tables": "nftables and iptables lack the modules that were refused",
    "effect.link": "the kind of network link is a module, and is missing",
    "effect.device": "the driver is missing",
}
_SAID_BY_TOOLS: Final = {
    "tool.invalid": "-22 is shown as 'Invalid argument' or 'Invalid parameters': no parameter is meant",
    "tool.links": "-40 is shown as 'Too many levels of symbolic links': no link is meant",
    "tool.524": "524 is ENOTSUPP, which user space has no name for",
    "tool.argument_list": "-7 is shown as 'Argument list too long': no argument is meant",
}


def _consequences(evidence: Evidence, causes: tuple[Cause, ...]) -> Iterator[Remark]:
    if not (evidence.refused or any(boot.vmlinux for boot in evidence.boots)):
        return
    for id_, text in (*_SAID_BY_TOOLS.items(), *_EFFECTS.items()):
        if id_ in evidence.seen:
            yield Remark(text, evidence.quoted(id_)[:2])
    if any(boot.vmlinux for boot in evidence.boots) and evidence.refused:
        yield Remark(
            "every module's refusal follows from vmlinux's", tuple(one.line for one in evidence.refused[:2])
        )
    loaded = [one for one in evidence.refused if one.loaded and one.module]
    if loaded:
        yield Remark(
            "the module speaks right after it was refused: it did load, as from 5.18 to 6.2 with "
            "CONFIG_MODULE_ALLOW_BTF_MISMATCH (class 23)",
            tuple(one.line for one in loaded[:2]),
        )


def _elsewhere(evidence: Evidence) -> Iterator[Remark]:
    """Yield the failures that are not BTF's, by what they mean."""
    by_meaning: dict[str, list[Line]] = {}
    for sort in (Sort.LOADER, Sort.TROUBLE):
        for _, one in evidence.of_sort(sort):
            by_meaning.setdefault(one.found[0].message.meaning, []).extend(one.lines)
    for meaning, lines in by_meaning.items():
        yield Remark(meaning, tuple(lines[:3]))
    if evidence.has("tool.format"):
        layout = evidence.has("loader.struct_size")
        what = "struct module's size" if layout else "version, symbols, struct module or the file itself"
        yield Remark(
            f"'Exec format error' is the module loader's (-8), for {what}; BTF's checks never give it",
            evidence.quoted("tool.format")[:2],
        )
    if evidence.has("build.disk") and not evidence.has("pahole.write"):
        yield Remark("the disk is full", evidence.quoted("build.disk")[:2])
    if evidence.has("effect.emergency", "effect.root") and not evidence.boots:
        yield Remark(
            "the boot did not come through; no line says that a module's BTF was refused",
            evidence.quoted("effect.emergency", "effect.root")[:2],
        )


def _contradictions(evidence: Evidence) -> Iterator[Remark]:
    """Yield where the lines speak against what is believed in the text."""
    groups = [one.group for one in evidence.refused if one.group is not None]
    shifted = [group for group in groups if names.shows_shift(group)]
    if evidence.has("theory.signature", "loader.unsigned") and evidence.refused:
        yield Remark(
            "it is no matter of signatures: a missing one only taints the kernel here, and the module came "
            "as far as "
            "its BTF",
            evidence.quoted("loader.unsigned", "theory.signature")[:2],
        )
    if evidence.has("theory.corruption", "theory.hardware") and len(shifted) > 1:
        yield Remark(
            "it is no damage to disk or memory: several modules' names are shifted in one way, which damage "
            "does not do",
            evidence.quoted("theory.corruption", "theory.hardware")[:2],
        )
    if evidence.has("reader.split_without_base"):
        yield Remark(
            "libbpf says that of sound split BTF as well, when it is opened without its base: it proves no "
            "broken BTF",
            evidence.quoted("reader.split_without_base")[:2],
        )
    effects = [line for _, one in evidence.of_sort(Sort.EFFECT) for line in one.lines]
    if effects and evidence.has("btf.mismatch", "btf.mismatch_cut") and not evidence.refused:
        yield Remark(
            "a module whose BTF was dropped loads and works: what fails there does not follow from it",
            tuple(effects[:2]),
        )
    if evidence.has("build.skipped") and evidence.refused:
        yield Remark(
            "the module whose BTF generation was skipped has none that could be refused: the refused one is "
            "another, or "
            "another build of it",
            evidence.quoted("build.skipped")[:1],
        )
    elif evidence.has("build.skipped") and not evidence.has("btf.no_module_btf", "reader.no_module_btf"):
        yield Remark(
            "'Skipping BTF generation' is no error, and no reason for a module not to build, load or work",
            evidence.quoted("build.skipped")[:1],
        )


def _missing(evidence: Evidence, causes: tuple[Cause, ...], conclusion: Conclusion) -> Iterator[str]:
    if conclusion is Conclusion.NO_LOG:
        yield "the kernel's log (dmesg, or journalctl -k -b), or the build's from its first BTF line on"
        return
    yield from _missing_records(evidence)
    if (
        evidence.has("tool.invalid", "tool.format")
        and not evidence.refused
        and not evidence.has("loader.struct_size")
    ):
        yield "what the kernel says at the moment of the load: dmesg | tail -20 right behind modprobe"
    if conclusion is Conclusion.NOT_SHOWN:
        return
    if not evidence.kernels:
        yield "the kernel's version (uname -a), and its packages'"
    if (
        evidence.refused
        and not evidence.has("context.mismatch_config")
        and evidence.has("btf.mismatch", "btf.mismatch_cut")
    ):
        yield "which module it is: compare /lib/modules with /sys/kernel/btf"
    if any(cause.number in (6, 7, 8, 15, 33, 35) for cause in causes[:2]) and not evidence.has(
        "pahole.version"
    ):
        yield "pahole --version where the kernel was built"


def _missing_records(evidence: Evidence) -> Iterator[str]:
    bare = [one for boot in evidence.boots if boot.vmlinux is None for one in boot.bare if one.module]
    if bare:
        late = (
            evidence.first_time is None
            or evidence.first_time > _EARLY_SECONDS
            or evidence.has("context.filtered")
        )
        yield (
            "the BPF: lines before 'failed to validate' (dmesg | grep -B8 'failed to validate'), and where "
            "there are none, those "
            "early in the boot"
            if late
            else "the BPF: lines, if there are any in this boot"
        )
    cut = [one for one in evidence.refused if one.group is not None and not one.group.complete]
    if cut:
        yield f"the rest of the BPF: lines of {cut[0].module}: they are cut before the check's own words"
    if any(boot.vmlinux is not None and not boot.vmlinux.complete for boot in evidence.boots):
        yield "the BPF: lines early in the boot, which say for what vmlinux's own BTF was refused"
    nobody = [boot for boot in evidence.boots if not boot.refused]
    if nobody:
        yield "what comes behind the BPF: lines: whether a module is named (failed to validate module [...])"
