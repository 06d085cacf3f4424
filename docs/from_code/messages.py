# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""Error messages, each with what ``kbtf-ci diagnose`` makes of it, and the classes of failure behind them."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Final

from docs.from_code.markdown import block, code, plain, table
from kbtf_ci.btf.cases.catalogue import CASES
from kbtf_ci.model.symptom import Diagnosis
from kbtf_ci.symptoms.catalogue.btf import RECORDS
from kbtf_ci.symptoms.causes import CLASSES
from kbtf_ci.symptoms.evidence import gather, spans
from kbtf_ci.symptoms.judge import judge
from kbtf_ci.symptoms.lines import joined, log_lines
from kbtf_ci.symptoms.messages import Message, Sort

REFUSED: Final = "failed to validate module [xfs] BTF: -22"

# What people search for, and lines as they come with it. Causes are not written here: diagnose finds them.
SAMPLES: Final = {
    REFUSED: (REFUSED,),
    "failed to validate module [xfs] BTF: -2": ("failed to validate module [xfs] BTF: -2",),
    "failed to validate module [xfs] BTF: -7": ("failed to validate module [xfs] BTF: -7",),
    "failed to validate module [xfs] BTF: -40": ("failed to validate module [xfs] BTF: -40",),
    "failed to validate module [xfs] BTF: -524": ("failed to validate module [xfs] BTF: -524",),
    "Invalid name": (
        "BPF: [118411] STRUCT ata..percpu",
        "BPF: size=40 vlen=6",
        "BPF: ",
        "BPF: Invalid name",
        "BPF: ",
        REFUSED,
    ),
    "Invalid name (of a whole name)": (
        "BPF: [118411] FUNC core::fmt",
        "BPF: type_id=108",
        "BPF: ",
        "BPF: Invalid name",
        "BPF: ",
        REFUSED,
    ),
    "Invalid name_offset": ("BPF: [118411] Invalid name_offset:1745000", REFUSED),
    "Invalid type_id": (
        "BPF: [118411] PTR (anon)",
        "BPF: type_id=990000",
        "BPF: ",
        "BPF: Invalid type_id",
        "BPF: ",
        REFUSED,
    ),
    "Invalid member bits_offset": (
        "BPF: [118411] STRUCT Foo",
        "BPF: size=16 vlen=2",
        "BPF: ",
        "BPF: first type_id=9 bits_offset=64",
        "BPF: ",
        "BPF: Invalid member bits_offset",
        "BPF: ",
        REFUSED,
    ),
    "Invalid kind": ("BPF: [118411] Invalid kind:31", REFUSED),
    "Unsupported btf_header": ("BPF: Unsupported btf_header", "failed to validate module [xfs] BTF: -7"),
    "No data": ("BPF: No data", REFUSED),
    "Total section length too long": ("BPF: Total section length too long", REFUSED),
    "Invalid offset (of vmlinux)": (
        "BPF: [110000] DATASEC .data..percpu",
        "BPF: size=198000 vlen=300",
        "BPF: ",
        "BPF: type_id=10 offset=4096 size=8",
        "BPF: ",
        "BPF: Invalid offset",
        "BPF: ",
    ),
    "Max chain length or cycle detected": (
        "BPF: [118411] CONST (anon)",
        "BPF: type_id=118411",
        "BPF: ",
        "BPF: Max chain length or cycle detected",
        "BPF: ",
        "failed to validate module [xfs] BTF: -40",
    ),
    "Kernel module BTF mismatch detected": (
        "Kernel module BTF mismatch detected, BTF debug info may be unavailable for some modules",
    ),
    "distilled base BTF type is not mapped to base BTF id": (
        "distilled base BTF type 'task_struct' [2] is not mapped to base BTF id",
        REFUSED,
    ),
    "distilled base BTF type has multiple candidates of the same size": (
        "distilled base BTF type 'foo' [2], size 8 has multiple candidates of the same size "
        "(ids [9, 12]) in base BTF",
        REFUSED,
    ),
    "section size must match the kernel's built struct module size at run time": (
        "module xfs: .gnu.linkonce.this_module section size must match the kernel's built struct module "
        "size at run time",
    ),
    "failed to register module [xfs] BTF in sysfs": (
        "sysfs: cannot create duplicate filename '/kernel/btf/xfs'",
        "failed to register module [xfs] BTF in sysfs: -17",
    ),
    "missing vmlinux BTF, cannot register kfuncs": ("missing vmlinux BTF, cannot register kfuncs",),
    "missing module BTF, cannot register kfuncs": ("missing module BTF, cannot register kfuncs",),
    "Skipping BTF generation for xfs.ko due to unavailability of vmlinux": (
        "Skipping BTF generation for xfs.ko due to unavailability of vmlinux",
    ),
    "Failed to parse base BTF": ("Failed to parse base BTF 'vmlinux': -22",),
    "failed to get e_shstrndx": ("libbpf: failed to get e_shstrndx from vmlinux",),
    "resolve_btfids: not found": ("/bin/sh: 1: ./tools/bpf/resolve_btfids/resolve_btfids: not found",),
    "resolve_btfids: unresolved symbol": ("WARN: resolve_btfids: unresolved symbol bpf_x",),
    "FAILED: load BTF from vmlinux": ("FAILED: load BTF from vmlinux: Invalid argument",),
    "FAILED: btf permute": ("FAILED: btf permute: -22",),
    "pahole: Permission denied": ("/bin/sh: 1: ./scripts/pahole.sh: Permission denied",),
    "Failed to generate BTF for vmlinux": ("Failed to generate BTF for vmlinux",),
    "Encountered error while encoding BTF": ("Encountered error while encoding BTF.",),
    "Unsupported DW_TAG": (
        "Unsupported DW_TAG_reference_type(0x10)",
        "Encountered error while encoding BTF.",
    ),
    "pahole killed, Error 137": (
        "Out of memory: Killed process 4711 (pahole) total-vm:7340032kB",
        "make[2]: *** [vmlinux] Error 137",
    ),
    "Unsupported BTF_KIND": ("libbpf: Unsupported BTF_KIND:19",),
    "Malformed BTF string section, did you forget to provide base BTF": (
        "libbpf: Malformed BTF string section, did you forget to provide base BTF?",
    ),
}

_HEADLESS: Final = ("header", "sections", "strings", "type", "chain")


def messages() -> Iterator[str]:
    """Yield a section a message: the lines, what they speak for, and the way out."""
    for title, lines in SAMPLES.items():
        yield f"### {plain(title)}"
        yield ""
        yield from block(lines)
        found = diagnosed(lines)
        for cause in found.causes:
            which = f"{plain(cause.name)} ([class {cause.number}](#class-{cause.number}))"
            yield f"- *{cause.likelihood}:* {which}: {plain('; '.join(cause.why))}."
        yield from (f"- {plain(one.text)}." for one in (*found.contradictions, *found.elsewhere))
        yield ""


def checks() -> Iterator[str]:
    """Yield the table of all checks of BTF that the kernel makes when a module is loaded."""
    rows = []
    for one in RECORDS:
        if one.sort is Sort.CHECK:
            first = diagnosed(_refused_by(one)).causes[0]
            cause = f"[{plain(first.name)}](#class-{first.number})"
            rows.append((code(_filled(one)), ", ".join(map(code, one.checks)), _kernels(one), cause))
    yield from table(("the kernel's words", "rule", "Linux", "first thought"), rows)


def classes() -> Iterator[str]:
    """Yield a section a class: how to tell it, the way out, and the cases that show it."""
    for one in CLASSES.values():
        yield f"### Class {one.number}"
        yield ""
        yield f"**{plain(one.name[0].upper() + one.name[1:])}.**"
        yield ""
        yield f"Way out: {plain(one.way_out)}"
        yield ""
        yield f"What tells it from others: {plain(one.tells_apart)}"
        yield ""
        cases = [case.name for case in CASES if case.failure_class == one.number]
        if cases:
            links = ", ".join(f"[{name}](reference/cases.md#{name})" for name in cases)
            yield f"Shown by `kbtf-ci repro run` of {links}."
            yield ""


def diagnosed(lines: tuple[str, ...]) -> Diagnosis:
    """Return what ``kbtf-ci diagnose`` makes of these lines of a kernel's log or a build's."""
    text = io.BytesIO("\n".join(lines).encode())
    return judge(gather(joined(log_lines(text, "log"), spans)), 1)


def _refused_by(one: Message) -> tuple[str, ...]:
    """Return a log in which this check refuses a module's BTF."""
    words = f"BPF: {_filled(one)}"
    about = one.checks[0].partition(".")[0]
    if about in _HEADLESS:
        return words, REFUSED
    kind = {"*": "STRUCT", "member": "STRUCT"}.get(about, about.upper())
    member = ("BPF: flags type_id=9 bits_offset=64", "BPF: ") if about == "member" else ()
    head = (f"BPF: [118411] {kind} task_struct", "BPF: size=40 vlen=2", "BPF: ")
    return *head, *member, words, "BPF: ", REFUSED


def _filled(one: Message) -> str:
    return re.sub(r"%z?[ux]", "7", one.words.replace("\\t", ""))


def _kernels(one: Message) -> str:
    if one.since or one.until:
        return f"{one.since or '5.11'} {'to ' + one.until if one.until else 'and later'}"
    return "all"
