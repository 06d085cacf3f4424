# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""From verdict and evidence to a cause, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.base_match.shift import Origin, origin
from kbtf_ci.btf.format.header import Header, magic_order
from kbtf_ci.btf.format.names import Strings
from kbtf_ci.btf.format.records import walk
from kbtf_ci.btf.format.wire import HEADER_BYTES, KINDS_TOLD, LAYOUT_HEADER_BYTES, told_kind
from kbtf_ci.btf.predict.assess import Assessment, Assessor
from kbtf_ci.btf.predict.nearest import nearest
from kbtf_ci.btf.rules.loader import FOREIGN, LoaderCheck
from kbtf_ci.btf.rules.rejection import Rejection
from kbtf_ci.model.architecture import ORDER_NAMES


@dataclass(frozen=True)
class Diagnosis:
    """A cause in one word, and a paragraph that a person can act on."""

    cause: str
    text: str


_REBUILD: Final = "Install the kernel image and the modules from one build, or build the modules again."
_SHAPE_RULES: Final = {
    "header.length", "header.whole", "sections.length", "sections.offset", "strings.end", "type.head",
    "type.tail",
}  # fmt: skip
_NEWER_RULES: Final = {"header.unknown", "ref.kflag", "decl_tag.kflag"}


def diagnose(one: Assessment, assessor: Assessor, *, siblings_have_btf: bool = False) -> Diagnosis | None:
    """Return why a module is not fine, None when it is.

    ``siblings_have_btf``: others of the same tree carry BTF, so that one without has lost it.
    """
    if one.is_fine:
        return None
    if one.loader_check is not None:
        return _loader_check(one, one.loader_check, assessor)
    if not one.module.btf:
        return _without(one, siblings_have_btf=siblings_have_btf)
    if one.verdict.unchecked:
        return Diagnosis(
            "damaged",
            f"Its BTF refers to {one.verdict.unchecked}. The kernel follows such ids unchecked while it "
            "moves the BTF to vmlinux's, and may oops. Do not load it; build it again.",
        )
    if one.verdict.newer:
        return Diagnosis(
            "newer than kbtf-ci",
            f"{_sentence(one.verdict.newer)} This kernel says that it knows kinds up to "
            f"{assessor.kernel.rules.newest_kind}: the BTF was not judged, the kernel may well take it. A "
            "newer kbtf-ci may know the kind.",
        )
    return _refused(one, assessor)


def _loader_check(one: Assessment, check: LoaderCheck, assessor: Assessor) -> Diagnosis:
    if check.rule == FOREIGN:
        return Diagnosis("other architecture", f"{_sentence(check.text)} Name the modules of this kernel.")
    if check.rule == "gate.symbols":
        return Diagnosis("stripped", "It has no symbol table. Strip modules with --strip-debug, not more.")
    if check.rule == "gate.vermagic":
        return Diagnosis("other kernel", f"{_sentence(check.text)} Name the modules of that kernel.")
    if check.rule == "gate.this_module":
        return Diagnosis("no module", f"{_sentence(check.text)} It is not a module that kbuild linked.")
    without = (
        " Without BTF of its own it was likely built without CONFIG_DEBUG_INFO_BTF_MODULES, as happens "
        f"where no pahole is found: struct module then lacks {_btf_members_bytes(assessor)} bytes."
    )
    return Diagnosis(
        "other configuration",
        f"{_sentence(check.text)} The module was built with another "
        f"configuration.{'' if one.module.btf else without} Build it with the kernel's own configuration "
        "and the same pahole.",
    )


def _btf_members_bytes(assessor: Assessor) -> int:
    """Return what CONFIG_DEBUG_INFO_BTF_MODULES adds to struct module (include/linux/module.h).

    Sizes of four bytes and then as many pointers: of .BTF, and since 6.11 of .BTF.base.
    """
    pointer = assessor.targets.pointer_bytes if assessor.targets else 8
    pairs = 2 if assessor.kernel.rules.relocates else 1
    return -(-4 * pairs // pointer) * pointer + pairs * pointer


def _without(one: Assessment, *, siblings_have_btf: bool) -> Diagnosis:
    module = one.module
    if module.btf is not None:
        return Diagnosis(
            "empty", "Its .BTF section is empty; the kernel loads it without BTF. Build it again."
        )
    if module.btf_ids_bytes or siblings_have_btf:
        why = "it has .BTF_ids" if module.btf_ids_bytes else "other modules of the same tree have BTF"
        return Diagnosis(
            "stripped",
            f"It has no .BTF section, yet {why}: the section was stripped, by packaging most often. It "
            "loads, and there will be no types of it. Keep the section: strip --keep-section=.BTF "
            "--keep-section=.BTF.base.",
        )
    return Diagnosis(
        "never built",
        "It has no .BTF section. kbuild leaves it out where vmlinux is not at hand ('Skipping BTF "
        "generation'), or where CONFIG_DEBUG_INFO_BTF_MODULES is off. It loads, and there will be no types "
        "of it.",
    )


def _refused(one: Assessment, assessor: Assessor) -> Diagnosis:
    rule = one.verdict.rule
    if rule == "vmlinux.missing":
        return _vmlinux_refused(assessor.kernel.rejection)
    if magic_order(one.module.btf or b"") not in (None, assessor.kernel.order):
        return _turned(assessor)
    if rule.startswith("relocate."):
        return _relocation(one, assessor)
    return _by_rule(one, assessor, rule)


def _by_rule(one: Assessment, assessor: Assessor, rule: str) -> Diagnosis:
    if rule == "type.kind":
        return _unknown_kind(one, assessor)
    for rules, explain in ((_NEWER_RULES, _newer), (_SHAPE_RULES, _cut)):
        if rule in rules:
            found = explain(one, assessor)
            if found is not None:
                return found
    if _is_of_the_frame(rule):
        return _damaged(one)
    return _stale(one, assessor)


def _vmlinux_refused(rejection: Rejection | None) -> Diagnosis:
    rule = rejection.rule if rejection else ""
    cut = (_is_of_the_frame(rule) or rule in _SHAPE_RULES) and rule not in _NEWER_RULES
    return Diagnosis(
        "vmlinux refused",
        f"The kernel refuses vmlinux's own BTF ({rule}{_kind_told(rejection)}), and so that of every module. "
        + (
            "It was cut short or damaged after pahole wrote it: link vmlinux again, or copy it again."
            if cut
            else "Take the pahole that this kernel's scripts/Makefile.btf knows."
        ),
    )


def _kind_told(rejection: Rejection | None) -> str:
    if rejection is None or rejection.rule != "type.kind" or not rejection.records:
        return ""
    return f": {rejection.records[0].decode(errors='replace').removeprefix('BPF: ')}"


def _is_of_the_frame(rule: str) -> bool:
    """Whether a rule is about header, sections or strings as a whole, and not about a type."""
    return rule.startswith(("header.", "sections.", "strings."))


def _relocation(one: Assessment, assessor: Assessor) -> Diagnosis:
    lines = [line for line in one.verdict.log if not line.startswith("failed to validate")]
    detail = nearest(one.module.base or b"", assessor.kernel.vmlinux)
    return Diagnosis(
        "base does not fit",
        "Its .BTF.base, the types it wants from vmlinux, does not fit this vmlinux: "
        f"{'; '.join(lines)}.{' ' + detail if detail else ''} Build it against this kernel, or remove both "
        "sections: objcopy -R .BTF -R .BTF.base.",
    )


def _newer(one: Assessment, assessor: Assessor) -> Diagnosis | None:
    """Tell what only newer kernels know."""
    header = Header.unpack(one.module.btf or b"", LAYOUT_HEADER_BYTES, assessor.kernel.order)
    if one.verdict.rule != "header.unknown":
        what = "sets kind_flag on a type or declaration tag, which kernels know from 6.15 on"
    elif header.hdr_len >= LAYOUT_HEADER_BYTES:
        what = f"has a header of {header.hdr_len} bytes with a layout section, which kernels know from 7.1 on"
    else:
        return None
    return Diagnosis(
        "newer pahole",
        f"Its BTF {what}: a pahole wrote it that was told features of newer kernels. Use the flags of this "
        "kernel's scripts/Makefile.btf.",
    )


def _unknown_kind(one: Assessment, assessor: Assessor) -> Diagnosis:
    """Tell which kind the kernel does not know, in the BTF or its distilled base."""
    words = next((line for line in one.verdict.log if "Invalid kind:" in line), "")
    found = re.search(r"\[(\d+)\] Invalid kind:(\d+)", words)
    if found is None or not int(found[2]):
        return _damaged(one)
    kind = int(found[2])
    return Diagnosis(
        "newer pahole" if kind <= max(KINDS_TOLD) else "newer pahole or damaged",
        f"Its BTF has type [{found[1]}] of {told_kind(kind)}, and this kernel knows kinds up to "
        f"{int(assessor.kernel.rules.last_kind)} ({assessor.kernel.rules.last_kind.name}): a pahole wrote it "
        "that was told features of newer kernels"
        f"{'' if kind <= max(KINDS_TOLD) else ', or the file is damaged'}. Use the flags of this kernel's "
        "scripts/Makefile.btf.",
    )


def _cut(one: Assessment, assessor: Assessor) -> Diagnosis | None:
    """Tell how much is missing, where the header still makes sense."""
    data = one.module.btf or b""
    if len(data) < HEADER_BYTES:
        return Diagnosis(
            "truncated", f"Its .BTF section has {len(data)} bytes, less than a header. {_REINSTALL}"
        )
    header = Header.unpack(data, HEADER_BYTES, assessor.kernel.order)
    wanted = header.hdr_len + max(header.type_off + header.type_len, header.str_off + header.str_len)
    if wanted <= len(data):
        return None
    return Diagnosis(
        "truncated",
        f"Its .BTF section has {len(data)} bytes, and its header speaks of {wanted}: {wanted - len(data)} "
        f"bytes are missing at the end. {_REINSTALL}",
    )


_REINSTALL: Final = "The file was cut short or written by a broken tool: install or build it again."


def _stale(one: Assessment, assessor: Assessor) -> Diagnosis:
    """Tell whether a module that was refused or flagged for its types was written against another base."""
    vmlinux = assessor.kernel.vmlinux
    module = one.module
    data = module.btf or b""
    header = Header.unpack(data, HEADER_BYTES, assessor.kernel.order)
    found = origin(walk(header.types(data), header.order), Strings(header.strings(data)))
    if vmlinux is None or module.base is not None:
        return _damaged(one)
    types, string_bytes = vmlinux.nr_types, len(vmlinux.strings)
    # libbpf keeps the empty string to the base (tools/lib/bpf/btf.c, btf_parse_str_sec()).
    if header.strings(data)[:1] == b"\0" and found.types in (None, 1):
        return Diagnosis(
            "full BTF",
            "It was written with no base at all, as vmlinux's is, and the kernel takes it for split BTF: "
            "pahole was not told of vmlinux (--btf_base).",
        )
    if found.types in (None, types) and found.string_bytes in (None, string_bytes):
        return _same_size(one, found)
    if _is_small(found, types, string_bytes):
        return Diagnosis(
            "base stripped",
            f"It was written against a distilled base of {_told(found)}, and it has no .BTF.base: that "
            "section was stripped. Remove .BTF as well, or build it again.",
        )
    return Diagnosis(
        "relinked",
        f"It was written against another vmlinux: one of {_told(found)}; this one has {types:,} types and "
        f"{string_bytes:,} string bytes{_moved(found, types, string_bytes)}. {_agreement(one, assessor)} "
        f"vmlinux was linked again after the modules, or they come from two builds. {_way_out(one)}",
    )


def _turned(assessor: Assessor) -> Diagnosis:
    return Diagnosis(
        "other byte order",
        f"Its BTF is of the other byte order: this kernel is {ORDER_NAMES[assessor.kernel.order]}. It is of "
        "another machine's kernel, or an encoder took this machine's order for the target's.",
    )


def _damaged(one: Assessment) -> Diagnosis:
    words = next((line for line in one.verdict.log if line.startswith("BPF: ")), "")
    message = words.removeprefix("BPF: ") or one.verdict.rule
    return Diagnosis("damaged", f"Its BTF is not what pahole writes: {message}. {_REINSTALL}")


def _same_size(one: Assessment, found: Origin) -> Diagnosis:
    known = found.types is not None or found.string_bytes is not None
    what = (
        "a vmlinux with as many types and string bytes as this one, but others"
        if known
        else "a base that cannot be told from so few types"
    )
    if one.base_mismatch is not None:
        return Diagnosis(
            "other vmlinux",
            f"It was written against {what}, or it was damaged; the kernel does not notice. {_way_out(one)}",
        )
    return Diagnosis(
        "damaged or other vmlinux",
        f"One of its types breaks the kernel's rule {one.verdict.rule}. It was written against {what}, or "
        f"it was damaged. {_way_out(one)}",
    )


def _is_small(found: Origin, types: int, string_bytes: int) -> bool:
    """A distilled base has some dozen types, where vmlinux has tens of thousands."""
    return (found.types or types) < types // 20 and (found.string_bytes or string_bytes) < string_bytes // 20


def _told(found: Origin) -> str:
    types = f"{found.types:,} types" if found.types is not None else "an unknown number of types"
    strings = f"{found.string_bytes:,} string bytes" if found.string_bytes is not None else "unknown strings"
    return f"{types} and {strings}"


def _moved(found: Origin, types: int, string_bytes: int) -> str:
    parts = [
        f"{now - then:+,} {what}"
        for now, then, what in (
            (types, found.types, "types"),
            (string_bytes, found.string_bytes, "string bytes"),
        )
        if then is not None
    ]
    return f" ({', '.join(parts)})"


def _agreement(one: Assessment, assessor: Assessor) -> str:
    built = one.module.vermagic.split(" ")[0]
    if not built or not assessor.release:
        return "Whether their version strings agree cannot be told."
    if built == assessor.release:
        return f"Both call themselves {built}, so nothing else stops it."
    return f"It was built for {built}, this kernel is {assessor.release}."


def _way_out(one: Assessment) -> str:
    if one.module.raw or one.module.modinfo.get("intree"):
        return _REBUILD
    return (
        "It is an out-of-tree module without .BTF.base: build it against this very vmlinux, or with Linux "
        "6.11 and pahole 1.28 or newer, which give it a base of its own."
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
