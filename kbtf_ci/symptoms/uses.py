# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Which classes of failure speak where no BTF was refused: registrations, sysfs, struct module, readers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from kbtf_ci.model.symptom import Likelihood
from kbtf_ci.symptoms.catalogue import loader
from kbtf_ci.symptoms.evidence import Evidence
from kbtf_ci.symptoms.messages import Sort
from kbtf_ci.symptoms.suspects import Suspect

SHOWN, LIKELY, POSSIBLE = Likelihood.SHOWN, Likelihood.LIKELY, Likelihood.POSSIBLE
_HEX_SIZE = re.compile(r"\b0*x?0*([345][048c]0)\b")
_CACHE_LINE = 64


def suspects(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what is said of BTF that was not refused."""
    for part in (_no_module_btf, _registration, _sysfs, _layout, _versions, _crash, _prototypes, _readers):
        yield from part(evidence)


def _no_module_btf(evidence: Evidence) -> Iterator[Suspect]:
    lines = evidence.quoted("btf.no_module_btf")
    if not lines:
        return
    dropped = evidence.has("btf.mismatch", "btf.mismatch_cut")
    version = evidence.version
    fails = " (before 6.5 that makes the module's init fail with -2)" if version and version < (6, 5) else ""
    if dropped:
        yield Suspect(
            23,
            SHOWN,
            f"the module's BTF was refused and dropped, so that its kfuncs have no types{fails}",
            lines,
        )
    else:
        stripped = evidence.has("context.stripped")
        why = f"the module has no BTF when it registers its kfuncs{fails}"
        yield Suspect(
            16, LIKELY if stripped else POSSIBLE, f"{why}: the section may have been stripped", lines
        )
        yield Suspect(
            5, POSSIBLE if stripped else LIKELY, f"{why}: it was likely built without a vmlinux", lines
        )
    yield Suspect(17, LIKELY, "the kernel says that it registers none of the module's kfuncs", lines)


def _registration(evidence: Evidence) -> Iterator[Suspect]:
    refused = bool(evidence.boots)
    if evidence.has("kfunc.registration") and not refused:
        lines = evidence.quoted("kfunc.registration")
        own = any(found.value("code") for found in evidence.seen["kfunc.registration"].found)
        left_out = "an id of the set is 0 or no function, as where pahole left a function out"
        no_set = "the set is none of kfuncs (BTF_SET8_START where BTF_KFUNCS_START is wanted)"
        first, second = (17, no_set), (32, left_out)
        if not own:  # the kernel's own, and so no out-of-tree source's
            first, second = second, first
        yield Suspect(
            first[0], LIKELY, f"kfuncs were not registered and there is no BPF: line: {first[1]}", lines
        )
        yield Suspect(second[0], POSSIBLE, f"or {second[1]}", lines)
        if not own:
            why = "or vmlinux's BTF was refused before, in BPF: lines that are not in the text"
            yield Suspect(26, POSSIBLE, why, lines)
    if evidence.has("context.set8"):
        yield Suspect(
            17,
            LIKELY,
            "the source uses BTF_SET8_START, which kernels from 6.9 on refuse with -22 and no word",
            evidence.quoted("context.set8"),
        )
    elif not refused and evidence.has("tool.invalid") and evidence.has("context.kfunc"):
        yield Suspect(
            17,
            LIKELY,
            "the load fails with -22, the kernel says nothing of BTF, and the module registers kfuncs: its "
            "own init returned it",
            evidence.quoted("tool.invalid", "context.kfunc"),
        )
    ops = [
        line
        for id_, one in evidence.of_sort(Sort.REGISTRATION)
        if id_.startswith("struct_ops:")
        for line in one.lines
    ]
    if ops:
        yield Suspect(17, LIKELY, "a struct_ops of the module's was refused", tuple(ops))


def _sysfs(evidence: Evidence) -> Iterator[Suspect]:
    lines = evidence.quoted("sysfs.duplicate", "btf.sysfs")
    if lines:
        yield Suspect(
            19, SHOWN, "the name is taken in /sys/kernel/btf; the module loads and its BTF is in use", lines
        )


def _layout(evidence: Evidence) -> Iterator[Suspect]:
    lines = evidence.quoted("loader.struct_size")
    if not lines:
        return
    sizes = _sizes(evidence)
    a_line = len(sizes) == 2 and max(sizes) - min(sizes) == _CACHE_LINE
    btf = bool(sizes and a_line) or evidence.has(
        "build.skipped",
        "build.btf_step",
        "pahole.version",
        "build.no_pahole",
        "build.no_resolve_btfids",
        "context.btf_config",
    )
    modules = tuple(found.value("module") for found in evidence.seen["loader.struct_size"].found)
    why = "the module's struct module has another size than the kernel's; its BTF was not looked at"
    detail = f" (the sizes, {min(sizes):#x} and {max(sizes):#x}, are a cache line apart)" if a_line else ""
    pahole = f"{why}{detail}: that is what a configuration without pahole makes of it"
    yield Suspect(
        9, LIKELY if btf else POSSIBLE, pahole, lines + evidence.quoted("context.struct_size")[:2], modules
    )
    yield Suspect(
        10,
        POSSIBLE if btf else LIKELY,
        f"{why}: it was built for another configuration or version",
        lines,
        modules,
    )


def _versions(evidence: Evidence) -> Iterator[Suspect]:
    """With CONFIG_MODVERSIONS another struct module is found by the checksum of module_layout."""
    if evidence.has("loader.module_layout") and evidence.has("context.btf_config", "pahole.version"):
        lines = evidence.quoted("loader.module_layout", "context.btf_config")
        why = "struct module differs (module_layout), and the text speaks of CONFIG_DEBUG_INFO_BTF_MODULES, "
        yield Suspect(9, LIKELY, f"{why}which changes it", lines)
        yield Suspect(10, POSSIBLE, "or another part of the configuration differs", lines)


def _crash(evidence: Evidence) -> Iterator[Suspect]:
    """Where cache lines hide the members for BTF, a module of another layout loads and crashes at once."""
    if evidence.out_of_tree and evidence.has("trouble.oops") and evidence.has("context.loading"):
        if not evidence.has("context.btf_word", "context.btf_config", "build.skipped"):
            return
        lines = evidence.quoted(loader.OUT_OF_TREE, "trouble.oops")[:3]
        why = (
            "an out-of-tree module crashes the kernel as it is loaded, where BTF was lately configured: its "
            "struct module may lack the members for BTF, which rounding to cache lines hides"
        )
        yield Suspect(9, POSSIBLE, why, lines, tuple(sorted(evidence.out_of_tree)))
        yield Suspect(10, POSSIBLE, "or it is of another configuration, or simply faulty", lines)


def _sizes(evidence: Evidence) -> set[int]:
    """Return the sizes of struct module that the text names, as people do with nm or readelf."""
    if not evidence.has("context.struct_size"):
        return set()
    texts = (line.text for line in evidence.quoted("context.struct_size"))
    return {int(size, 16) for text in texts for size in _HEX_SIZE.findall(text)}


def _prototypes(evidence: Evidence) -> Iterator[Suspect]:
    lines = evidence.quoted("reader.prototype")
    if lines:
        why = (
            "libbpf holds a program's prototype of a kfunc against vmlinux's, and they differ: the trailing "
            "struct "
            "bpf_prog_aux * was left in, for want of the tag bpf_kfunc"
        )
        new = evidence.version is None or evidence.version >= (7, 0)
        yield Suspect(35, LIKELY if new else POSSIBLE, why, lines)
        yield Suspect(
            18,
            LIKELY if not new else POSSIBLE,
            "what BPF programs read differs from what the kernel has",
            lines,
        )


def _readers(evidence: Evidence) -> Iterator[Suspect]:
    if evidence.has("reader.empty_strings"):
        yield Suspect(
            28,
            LIKELY,
            "BTF without a type of its own is sound; the reader refuses its empty strings",
            evidence.quoted("reader.empty_strings"),
        )
    if evidence.has("reader.no_kernel_btf", "btf.no_vmlinux_btf") and not evidence.has("reader.kind"):
        yield Suspect(
            31,
            LIKELY,
            "a reader found no BTF of the kernel's",
            evidence.quoted("reader.no_kernel_btf", "btf.no_vmlinux_btf"),
        )
        if evidence.has("reader.no_kernel_btf"):
            why = "or the kernel has BTF, and this reader is too old to read it"
            yield Suspect(7, POSSIBLE, why, evidence.quoted("reader.no_kernel_btf"))
    if evidence.has("reader.nobits"):
        yield Suspect(
            16,
            LIKELY,
            "the .BTF of that file is a name without bytes, as debug files have it",
            evidence.quoted("reader.nobits"),
        )
    if evidence.has("reader.header"):
        lines = evidence.quoted("reader.header")
        yield Suspect(7, LIKELY, "the header has the layout section of 7.1, and this reader is older", lines)
        yield Suspect(21, POSSIBLE, "or a newer pahole wrote it than the kernel knows", lines)
    if evidence.has("reader.load"):
        why = "the kernel has BTF, and this reader is too old for it"
        yield Suspect(7, LIKELY, why, evidence.quoted("reader.load"))
    if not evidence.boots and not evidence.has("btf.no_module_btf", "build.skipped"):
        yield from _not_found(evidence)


_LEFT_OUT: Final = (32, "pahole may have left it out, as it does with what was inlined or cloned")
_OF_A_MODULE: Final = (
    (5, "its module may be without BTF"),
    (16, "its module's BTF may have been stripped"),
    (23, "its module's BTF may have been refused, and dropped"),
)


def _not_found(evidence: Evidence) -> Iterator[Suspect]:
    """Yield what it can be when a function or type is not in BTF, as far as the kernel has it at all."""
    for id_, ways in (
        ("reader.no_kernel_type", (_LEFT_OUT, *_OF_A_MODULE)),
        ("reader.no_module_btf", (*_OF_A_MODULE, _LEFT_OUT)),
    ):
        for number, why in ways if evidence.has(id_) else ():
            told = f"a function or type is not in BTF; where this kernel has it, {why}"
            yield Suspect(number, POSSIBLE, told, evidence.quoted(id_))
