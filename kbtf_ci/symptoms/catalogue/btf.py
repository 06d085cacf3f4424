# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What kernel/bpf says of BTF: the checks' words behind ``BPF:``, and what becomes of a module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kbtf_ci.symptoms.messages import Message, Sort

BTF: Final = "kernel/bpf/btf.c"
STRUCT_OPS: Final = "kernel/bpf/bpf_struct_ops.c"
RELOCATE: Final = "tools/lib/bpf/btf_relocate.c"

KINDS: Final = (
    "UNKNOWN",
    "INT",
    "PTR",
    "ARRAY",
    "STRUCT",
    "UNION",
    "ENUM",
    "FWD",
    "TYPEDEF",
    "VOLATILE",
    "CONST",
    "RESTRICT",
    "FUNC",
    "FUNC_PROTO",
    "VAR",
    "DATASEC",
    "FLOAT",
    "DECL_TAG",
    "TYPE_TAG",
    "ENUM64",
)

_KINDS_OF: Final = {
    "int": ("INT",),
    "ref": ("PTR", "TYPEDEF", "VOLATILE", "CONST", "RESTRICT", "TYPE_TAG"),
    "array": ("ARRAY",),
    "struct": ("STRUCT", "UNION"),
    "enum": ("ENUM",),
    "enum64": ("ENUM64",),
    "fwd": ("FWD",),
    "func": ("FUNC",),
    "func_proto": ("FUNC_PROTO",),
    "var": ("VAR",),
    "datasec": ("DATASEC",),
    "float": ("FLOAT",),
    "decl_tag": ("DECL_TAG",),
}
_PREFIX_OF: Final = {kind: prefix for prefix, kinds in _KINDS_OF.items() for kind in kinds}

# The rules of kbtf_ci.btf.rules behind the words of a check, where they are not told by the kind alone.
_CHECKS: Final[tuple[tuple[str, str], ...]] = (
    ("hdr_len not found", "header.length"),
    ("btf_header not found", "header.whole"),
    ("Unsupported btf_header", "header.unknown"),
    ("Invalid magic", "header.magic"),
    ("Unsupported version", "header.version"),
    ("Unsupported flags", "header.flags"),
    ("No data", "header.no_data"),
    ("Invalid section offset", "sections.offset"),
    ("Unsupported section found", "sections.gap sections.trailing"),
    ("Section overlap found", "sections.overlap"),
    ("Total section length too long", "sections.length"),
    ("String section is not at the end", "strings.end"),
    ("Invalid string section", "strings.section strings.first"),
    ("[%u] meta_left:%u meta_needed:%zu", "type.head"),
    ("[%u] Invalid btf_info:%x", "type.info"),
    ("[%u] Invalid kind:%u", "type.kind"),
    ("[%u] Invalid name_offset:%u", "type.name_offset"),
    ("meta_left:%u meta_needed:%u", "type.tail"),
    ("\\tInvalid name_offset:%u", "enum.value_name_offset enum64.value_name_offset"),
    ("Invalid member name_offset:%u", "member.name_offset"),
    ("Invalid member bits_offset", "member.in_union member.order"),
    ("Member bits_offset exceeds its struct size", "member.inside"),
    ("vlen != 0", "*.vlen"),
    ("Invalid btf_info kind_flag", "*.kflag"),
    ("Invalid btf_info size", "datasec.sum"),
    ("Invalid int_data:%x", "int.data"),
    ("nr_bits exceeds %zu", "int.bits"),
    ("nr_bits exceeds type_size", "int.size"),
    ("Unsupported encoding", "int.encoding"),
    ("type != 0", "fwd.type"),
    ("size != 0", "array.size"),
    ("size == 0", "datasec.size"),
    ("Invalid elem", "array.element"),
    ("Invalid index", "array.index"),
    ("Unexpected size", "enum.size enum64.size"),
    ("Invalid func linkage", "func.linkage"),
    ("Linkage not supported", "var.linkage"),
    ("Invalid offset+size", "datasec.var_end"),
    ("Invalid offset", "datasec.var_offset"),
    ("Invalid size", "datasec.var_size"),
    ("Invalid type_size", "float.size"),
    ("Invalid value", "decl_tag.value"),
    ("Invalid component_idx", "decl_tag.component"),
    ("Max chain length or cycle detected", "chain.length"),
    ("Type tags don't precede modifiers", "chain.tag_order"),
    ("Invalid type_id", "*.type"),
    ("Invalid name", "*.name enum.value_name enum64.value_name"),
)
_UNTIL: Final = {"Type tags don't precede modifiers": "7.1", "[%u] Invalid btf_info:%x": "7.1"}
_SINCE: Final = {
    "Max chain length or cycle detected": "5.19",
    "Type tags don't precede modifiers": "5.19",
    "Invalid component_idx": "5.16",
    "Invalid value": "5.16",
    "Invalid type_size": "5.13",
}

# What the BPF_BTF_LOAD call checks and a module's load never does (btf_check_all_types() and below).
_SYSCALL: Final = (
    "Unsupported check_member",
    "Unsupported check_kflag_member",
    "Invalid member bitfield_size",
    "Unsupported resolve",
    "bits_offset exceeds U32_MAX",
    "nr_copy_bits exceeds 128",
    "Member exceeds struct_size",
    "Invalid member base type",
    "Invalid member offset",
    "Invalid member",
    "Member is not byte aligned",
    "Invalid array of int",
    "Array size overflows U32_MAX",
    "Not a VAR kind member",
    "Invalid type",
    "Member is not properly aligned",
    "Invalid return type",
    "Invalid arg#%u",
    "Exceeded max resolving depth:%u",
    "Loop detected",
    "Invalid resolve state",
    "Unaligned type_off",
    "No type found",
    "Exceeded max num of types",
    "Unaligned layout_off",
    "Layout section is too small",
    "layout_len is not multiple of %zu",
    "Layout section is too big",
)

# In the kernel's log the details of a header are never printed; bpftool and libbpf show them.
_DETAILS: Final = (
    "size=%u bits_offset=%u nr_bits=%u encoding=%s",
    "type_id=%u index_type_id=%u nr_elems=%u",
    "type_id=%u linkage=%u",
    "type=%u component_idx=%d",
    "size=%u vlen=%u",
    "type_id=%u",
    "size=%u",
    "return=%u args=(",
    "void",
    "vararg",
    ", vararg",
    "magic: 0x%x",
    "version: %u",
    "flags: 0x%x",
    "hdr_len: %u",
    "type_off: %u",
    "type_len: %u",
    "str_off: %u",
    "str_len: %u",
    "layout_off: %u",
    "layout_len: %u",
    "btf_total_size: %u",
)

MEMBER: Final = Message(
    "btf.member",
    r"(?P<name>.*?)\s?type_id=\d+(?: bitfield_size=\d+)? bits_offset=\d+",
    Sort.HEAD,
    BTF,
    pattern=True,
)
VARIABLE: Final = Message(
    "btf.variable", r"type_id=\d+ offset=(?P<offset>\d+) size=\d+", Sort.HEAD, BTF, pattern=True
)
TYPE: Final = Message(
    "btf.type",
    r"\[(?P<id>\d+)\] (?P<kind>" + "|".join(sorted(KINDS, reverse=True)) + r")(?:\s(?P<name>.*))?",
    Sort.HEAD,
    BTF,
    pattern=True,
)


def _records() -> Iterator[Message]:
    yield from (MEMBER, VARIABLE, TYPE)
    for words, checks in _CHECKS:
        yield Message(
            f"check:{words}",
            words,
            Sort.CHECK,
            BTF,
            ("id",) if words.startswith("[%u]") else (),
            checks=tuple(checks.split()),
            since=_SINCE.get(words, ""),
            until=_UNTIL.get(words, ""),
        )
    yield from (Message(f"syscall:{words}", words, Sort.SYSCALL, BTF) for words in _SYSCALL)
    yield from (Message(f"detail:{words}", words, Sort.HEAD, BTF) for words in _DETAILS)


RECORDS: Final = tuple(_records())


def rules_of(checks: tuple[str, ...], kind: str, *, member: bool, variable: bool) -> tuple[str, ...]:
    """Return the rules that a check's words can be, by the type they are about as far as the text has it."""
    if member:
        named = (rule.replace("*", "member") for rule in checks)
        return tuple(rule for rule in named if rule.startswith("member."))
    if variable:
        return tuple(rule.replace("*.type", "datasec.var_type") for rule in checks)
    prefix = _PREFIX_OF.get(kind, "")
    rules = tuple(rule.replace("*", prefix or "*") for rule in checks)
    others = {"enum", "enum64"} - {prefix} if prefix else set()
    return tuple(rule for rule in rules if rule.partition(".")[0] not in others)


_MODULE: Final = (
    Message(
        "btf.refused",
        r"[Ff]ailed to validate module (?:\[(?P<module>[^\]\s]+)\]?(?:\s*BTF:?\s*(?P<errno>-?\d+))?"
        r"|['\"]?(?P<named>[\w-]+)['\"]?\s*BTF:?\s*(?P<code>-?\d+))",
        Sort.REFUSED,
        BTF,
        pattern=True,
        anchors=("ailed to validate",),
    ),
    Message(
        "btf.mismatch",
        "Kernel module BTF mismatch detected, BTF debug info may be unavailable for some modules",
        Sort.DROPPED,
        BTF,
        since="5.18",
    ),
    Message(
        "btf.mismatch_cut",
        r"Kernel module BTF mismatch detected",
        Sort.DROPPED,
        BTF,
        pattern=True,
        anchors=("mismatch detected",),
        since="5.18",
    ),
    Message(
        "btf.sysfs", "failed to register module [%s] BTF in sysfs: %d", Sort.SYSFS, BTF, ("module", "errno")
    ),
    Message(
        "sysfs.duplicate",
        r"sysfs: cannot create duplicate filename '/kernel/btf/(?P<module>[^']*)'",
        Sort.SYSFS,
        "fs/sysfs/dir.c",
        pattern=True,
        anchors=("/kernel/btf/",),
    ),
    Message(
        "btf.no_vmlinux_btf", "missing vmlinux BTF, cannot register %s", Sort.REGISTRATION, BTF, ("what",)
    ),
    Message("btf.no_module_btf", "missing module BTF, cannot register %s", Sort.REGISTRATION, BTF, ("what",)),
    Message("btf.dtors", "cannot register more than %d kfunc destructors", Sort.REGISTRATION, BTF),
    Message(
        "btf.kfunc_twice",
        "kfunc %s (id: %d) is already present in vmlinux.",
        Sort.REGISTRATION,
        BTF,
        ("name",),
        since="7.3",
    ),
    Message(
        "btf.kfunc_twice_module",
        "kfunc %s (id: %d) is already present in module %s.",
        Sort.REGISTRATION,
        BTF,
        ("name",),
        since="7.3",
    ),
    Message(
        "kfunc.registration",
        r"(?:(?:[Ff]ailed|[Uu]nable|[Cc]annot) to register|[Ee]rror while registering) .*?kfuncs?\b.*?"
        r"\(?(?P<errno>-\d+)?\)?\s*$"
        r"|register_btf_\w+\(?\)?.*?(?:failed|returns?|returned|error).*?(?P<code>-\d+)",
        Sort.REGISTRATION,
        "the kernel",
        pattern=True,
        anchors=("kfunc", "register_btf_"),
    ),
)

_RELOCATION: Final = (
    Message(
        "relocate.empty_name",
        "base BTF id [%u] maps to invalid distilled base BTF id [%u]",
        Sort.RELOCATION,
        RELOCATE,
        checks=("relocate.empty_name",),
        since="6.11",
    ),
    Message(
        "relocate.ambiguous",
        "distilled base BTF type '%s' [%u], size %u has multiple candidates of the same "
        "size (ids [%u, %u]) in base BTF",
        Sort.RELOCATION,
        RELOCATE,
        ("name",),
        checks=("relocate.ambiguous",),
        since="6.11",
    ),
    Message(
        "relocate.unmapped",
        "distilled base BTF type '%s' [%d] is not mapped to base BTF id",
        Sort.RELOCATION,
        RELOCATE,
        ("name",),
        checks=("relocate.unmapped",),
        since="6.11",
    ),
    Message(
        "relocate.anonymous",
        "type [%u], kind [%d] is invalid for distilled base BTF; it is anonymous",
        Sort.RELOCATION,
        RELOCATE,
        checks=("relocate.anonymous",),
        since="6.11",
    ),
    Message(
        "relocate.kind",
        "type [%u] in distilled based BTF has unexpected kind [%d]",
        Sort.RELOCATION,
        RELOCATE,
        checks=("relocate.kind",),
        since="6.11",
    ),
    Message(
        "relocate.string",
        "string '%s' [offset %u] is not mapped to base BTF",
        Sort.RELOCATION,
        RELOCATE,
        checks=("relocate.string",),
        since="6.11",
    ),
)

_STRUCT_OPS_WORDS: Final = (
    "The number of %s's members should be 2, but we get %d",
    "The first member of %s should be bpf_struct_ops_common_value",
    "The second member of %s should be %s",
    "Cannot find the stub function name for the %s in struct %s",
    "Cannot find the stub function %s in btf",
    "the number of arguments of the stub function %s does not match the number of arguments of the member %s "
    "of "
    "struct %s",
    "stub function %s has %s tagging to an unsupported type",
    "stub function %s has an invalid trampoline ctx offset for arg#%u",
    "arg#%u type in stub function %s does not match with its original func_proto",
    "struct_ops name %s is too long",
    "struct_ops for %s has no cfi_stubs",
    "Cannot find struct %s in %s",
    "Cannot support #%u members in struct %s",
    "anon member in struct %s is not supported",
    "bit field member %s in struct %s is not supported",
    "'struct module' btf id not found. Is CONFIG_MODULES enabled? bpf_struct_ops '%s' needs module support.",
    "Error in parsing func ptr %s in struct %s",
    "func ptr %s in struct %s has a >8 byte return value, which is not supported",
    "func ptr %s in struct %s returns non-struct pointer, which is not supported",
    "Error in init bpf_struct_ops %s",
)

# Of a BPF program's verifier: btf.c says them, and no module's load is about them.
_PROGRAM_WORDS: Final = (
    "arg#%d struct doesn't have a name",
    "btf_vmlinux is malformed",
    "Please fix kernel include/linux/bpf_types.h",
    "arg#%d type isn't a pointer",
    "arg#%d type doesn't have a name",
    "arg#%d should be void pointer",
    "arg#%d should be `struct %s *`",
    "kern ctx type id %u is not a struct",
    "func '%s' offset %d is not multiple of 8",
    "func '%s' doesn't have %d-th argument",
    "ret type %s not allowed for fmod_ret",
    "func '%s' arg%d '%s' has type %s. Only pointer access is allowed",
    "func '%s' size %d must be 8",
    "invalid btf_id for context argument offset %u",
    "func '%s' arg%d type %s is not a struct",
    "func '%s' arg%d type %s has multiple type tags",
    "type '%s' has multiple type tags",
    "func '%s' arg%d has btf_id %d type %s '%s'",
    "marking pointer arg%d as scalar as it may encode error",
    "Type '%s' is not a struct",
    "access beyond struct %s at off %u size %u",
    "field %s doesn't have size",
    "cannot access ptr member %s with moff %u in struct %s with off %u size %u",
    "access beyond the end of member %s (mend:%u) in struct %s with off %u size %u",
    "struct %s doesn't have field at offset %d",
    "direct access to %s is disallowed",
    "unknown btf_struct_walk return value",
    "The function %s has %d arguments. Too many.",
    "The function %s return type %s is unsupported.",
    "The function %s with variable args is unsupported.",
    "The function %s arg%d type %s is unsupported.",
    "The function %s has malformed void argument.",
    "%s() is not a global function",
    "%s() has %d args while %s() has %d args",
    "Return type %s of %s() doesn't match type %s of %s()",
    "arg%d in %s() is %s while %s() has %s",
    "arg%d in %s() has size %d while %s() has %d",
    "arg%d in %s() has unrecognized type",
    "arg%d in %s() is not a pointer to context",
    "arg%d %s(struct %s *) doesn't match %s(struct %s *)",
    "Program extension requires BTF",
    "arg#%d reference type('%s %s') candidate matching error: %d",
    "arg#%d reference type('%s %s') points to kernel module type (unsupported)",
    "arg#%d reference type('%s %s') size cannot be determined: %ld",
    "arg#%d reference type('%s %s') %s",
    "Verifier bug in function %s()",
    "Verifier bug",
    "verifier bug off %d size %d",
    "Global functions need valid BTF",
    "BTF of func#%d doesn't point to KIND_FUNC",
    "Invalid type of function %s()",
    "Global function %s() with %d > %d args. Buggy compiler.",
    "Global function %s() doesn't return scalar. Only those are supported.",
    "Global function %s() return value not void or scalar. Only those are supported.",
    "function signature member has multiple type tags",
    "kernel supports at most %d parameters, function %s has %d",
    "JIT does not support function %s() with %d args",
    "global function %s has %d > %d args, stack args not supported",
    "arg#%d untrusted cannot be combined with any other tags",
    "arg#%d has type %s '%s', but only struct or primitive types are allowed",
    "arg#%d type tag is not supported in static functions",
    "arg#%d has unsupported set of tags",
    "arg#%d type tag fetching failure: %d",
    "arg#%d has invalid combination of tags",
    "arg#%d arena cannot be combined with any other tags",
    "arg#%d has pointer tag, but is not a pointer type",
    "Arg#%d type %s in %s() is not supported yet.",
    "vmlinux_cand_cache:",
    "module_cand_cache:",
    "relo #%u: bad type id %u",
    "target candidate search failed for %d",
    "CO-RE relocating %s %s: found target candidate [%d]",
)

MESSAGES: Final = (
    *_MODULE,
    *_RELOCATION,
    *(Message(f"struct_ops:{words}", words, Sort.REGISTRATION, STRUCT_OPS) for words in _STRUCT_OPS_WORDS),
    *(Message(f"program:{words}", words, Sort.PROGRAM, BTF) for words in _PROGRAM_WORDS),
)
