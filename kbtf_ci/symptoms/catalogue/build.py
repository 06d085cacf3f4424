# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a build says at its BTF steps: kbuild, pahole, libbpf in it, resolve_btfids, objcopy."""

from __future__ import annotations

from typing import Final

from kbtf_ci.symptoms.messages import Message, Sort

KBUILD: Final = "kbuild"
PAHOLE: Final = "pahole"
RESOLVE_BTFIDS: Final = "resolve_btfids"
LIBBPF: Final = "libbpf"


# Steps and ends that say no more than where a build was.
WHERE: Final = (
    "build.btf_step",
    "build.btfids_step",
    "build.ko_deleted",
    "build.modfinal",
    "build.vmlinux_error",
)


def _seen(id_: str, pattern: str, said_by: str, *anchors: str) -> Message:
    sort = Sort.NOTE if id_ in WHERE else Sort.BUILD
    return Message(id_, pattern, sort, said_by, pattern=True, anchors=anchors)


_KBUILD: Final = (
    _seen(
        "build.skipped",
        r"[Ss]kipping BTF generation(?: for (?P<file>\S+?\.ko\b|\S+))?",
        KBUILD,
        "kipping BTF",
    ),
    _seen("build.btf_step", r"^\s*BTF\s+(?:\[M\]\s+)?(?P<file>\S+)\s*$", KBUILD, "BTF"),
    _seen("build.btfids_step", r"^\s*BTFIDS\s+(?P<file>\S+)", KBUILD, "BTFIDS"),
    _seen(
        "build.no_resolve_btfids",
        r"resolve_btfids['\"»]?\s*:\s*(?:command )?(?:not found|No such file|inaccessible"
        r"|Permission denied|cannot execute|Datei oder Verzeichnis|нет такого|No existe)"
        r"|(?:sh|bash): (?:line )?\d*:?\s*\S*resolve_btfids: .*|No rule to make target '\S*resolve_btfids'"
        r"|resolve_btfids['\"]?\s?(?:is )?not found",
        KBUILD,
        "resolve_btfids",
    ),
    _seen(
        "build.pahole_denied",
        r"\S*pahole(?:\.sh)?:\s*Permission denied|scripts/pahole\S*: Permission denied",
        KBUILD,
        "Permission denied",
    ),
    _seen(
        "build.no_pahole",
        r"pahole['\"]?\)?:? (?:\([^)]*\) )?(?:is )?(?:command )?not (?:found|available|installed)"
        r"|pahole: (?:command not found|No such file|inaccessible)|(?:sh"
        r"|bash)[^:]*: (?:line )?(?:\d+: )?pahole: ",
        KBUILD,
        "pahole",
    ),
    _seen("build.awk", r"awk: .*(?:invalid char|\^ invalid|'BEGIN)", KBUILD, "awk: "),
    _seen(
        "build.failed_for_vmlinux",
        r"Failed to generate BTF for vmlinux|Try to disable CONFIG_DEBUG_INFO_BTF",
        KBUILD,
        "Failed to generate BTF",
        "Try to disable CONFIG_DEBUG_INFO_BTF",
    ),
    _seen(
        "build.killed",
        r"(?:^|\s)(?:Killed|Terminated)\b(?:\s+.*(?:pahole|PAHOLE))?\s*(?:\$\{?PAHOLE|\S*pahole|"
        r"LLVM_OBJCOPY|$)|Error 137\b|signal: 9|exit(?:ed)? (?:code|status) 137",
        KBUILD,
        "Killed",
        "Terminated",
        "Error 137",
        "signal: 9",
        " 137",
    ),
    _seen(
        "build.oom",
        r"Out of memory: Killed process \d+ \((?P<what>[^)]*)\)|oom-kill:.*task=(?P<task>[^,]*)"
        r"|invoked oom-killer|oom_reaper: reaped process",
        "the kernel",
        "Out of memory",
        "oom",
    ),
    _seen(
        "build.segfault",
        r"(?:Segmentation fault|core dumped|Aborted).*(?:pahole|PAHOLE)|pahole\[\d+\]: segfault"
        r"|pahole.*(?:Segmentation fault|SIGSEGV|core dumped)|(?:Segmentation fault"
        r"|Aborted).*(?:LLVM_OBJCOPY|-J)",
        KBUILD,
        "pahole",
        "PAHOLE",
        "LLVM_OBJCOPY",
        "Segmentation fault",
    ),
    _seen(
        "build.objcopy",
        r"objcopy\S*: (?:error: .*|.*(?:can't add section|already exists|not recognized|cannot|failed"
        r"|invalid).*)",
        "objcopy",
        "objcopy",
    ),
    _seen("build.disk", r"No space left on device", "the system", "No space left"),
    _seen("build.ko_deleted", r"Deleting file '?(?P<file>[^'\s]*\.ko)'?", KBUILD, "Deleting file"),
    _seen("build.modfinal", r"Makefile\.modfinal:\d+", KBUILD, "Makefile.modfinal"),
    _seen("build.vmlinux_error", r"\*\*\* \[.*vmlinux\S*\] Error (?P<code>\d+)", KBUILD, "vmlinux"),
)

_PAHOLE: Final = (
    _seen(
        "pahole.base_file",
        r"failed to get e_shstrndx from (?P<file>\S+)|failed to open '?\S*vmlinux'? ELF file"
        r"|Failed to parse base BTF '?(?P<base>[^':]+)'?: -4001",
        LIBBPF,
        "e_shstrndx",
        "-4001",
        "ELF file",
    ),
    _seen(
        "pahole.base_btf",
        r"[Ff]ailed to parse base BTF '?(?P<file>[^':]+)'?:?\s*(?P<errno>-?\d+)?",
        PAHOLE,
        "parse base BTF",
    ),
    _seen(
        "pahole.unsupported_tag",
        r"Unsupported DW_TAG_(?P<tag>\w+?)\((?P<code>0x[0-9a-f]+)\)",
        PAHOLE,
        "Unsupported DW_TAG",
    ),
    _seen("pahole.dedup", r"btf__dedup failed|btf_encoder__encode: btf__dedup", PAHOLE, "dedup"),
    _seen(
        "pahole.write",
        r"btf_encoder__write_elf: failed|btf_encoder__write_raw_file: |failed to add \.BTF section",
        PAHOLE,
        "btf_encoder__write",
        "failed to add .BTF",
    ),
    _seen(
        "pahole.failed",
        r"Encountered error while encoding BTF|[Ff]ailed to encode BTF|Error emitting BTF type"
        r"|error: failed to (?:encode|write) .*BTF|die__process.*(?:INVALID|expected got)"
        r"|pahole: \S*: (?:Invalid argument|No such file)|btf_encoder__\w+: .*(?:failed|error)"
        r"|error in .*btf_encoder"
        r"|zero-sized symbols|btf_elf__encode|matching function '\S+' not found"
        r"|tag__recode_dwarf_type: couldn't find",
        PAHOLE,
        "BTF",
        "pahole",
        "btf_encoder",
        "die__process",
        "zero-sized",
        "btf_elf",
        "matching function",
        "tag__recode",
    ),
    _seen(
        "pahole.options",
        r"pahole: (?:unrecognized|invalid|unknown) option\S*.*|pahole: Unknown .*feature\S*.*"
        r"|[Uu]nrecognized option '--(?:btf|skip_encoding|lang_exclude|distilled)\S*'"
        r"|Feature '\S*' in '\S*' is not supported",
        PAHOLE,
        "pahole",
        "unrecognized option",
        "in '",
    ),
    _seen(
        "pahole.version",
        r"[Pp]ahole\s*(?:version\s*)?:?\s*[=<>≥]*\s*v?(?P<version>1\.\d\d)\b"
        r"|dwarves[- ](?:v)?(?P<other>1\.\d\d)"
        r"|CONFIG_PAHOLE_VERSION=(?P<config>\d+)",
        PAHOLE,
        "ahole",
        "dwarves",
        "PAHOLE_VERSION",
    ),
)

_IDS: Final = (
    _seen(
        "ids.permute",
        r"FAILED: btf permute.*|FAILED to (?:sort|dedup|distill base) BTF: .*",
        RESOLVE_BTFIDS,
        "btf permute",
        "FAILED to",
    ),
    _seen(
        "ids.unresolved",
        r"(?:WARN: resolve_btfids:|FAILED) unresolved symbol (?P<symbol>\S+)",
        RESOLVE_BTFIDS,
        "unresolved symbol",
    ),
    _seen(
        "ids.no_symbol",
        r"WARN: resolve_btfids: no BTF ID symbol for (?P<symbol>\S+)(?: entry \d+)?",
        RESOLVE_BTFIDS,
        "no BTF ID symbol",
    ),
    _seen(
        "ids.no_func",
        r"WARN: resolve_btfids: no BTF func for kfunc (?P<symbol>\S+) in .*",
        RESOLVE_BTFIDS,
        "no BTF func",
    ),
    _seen(
        "ids.load_base",
        r"FAILED: load base BTF from (?P<file>\S+?):\s*(?P<why>.*)",
        RESOLVE_BTFIDS,
        "load base BTF",
    ),
    _seen(
        "ids.load",
        r"(?:FAILED:? |[Ff]ailed:? )?load BTF from (?P<file>(?!/sys/)[^\s:]+)\s*:\s*(?P<why>.*)",
        RESOLVE_BTFIDS,
        "load BTF from",
    ),
    _seen(
        "ids.no_section",
        r"failed to find '?\.BTF'? ELF section in (?P<file>\S+)|BTF is required, but is missing"
        r"|' ELF section in vmlinux",
        LIBBPF,
        "ELF section in",
        "BTF is required",
    ),
)

# The rest of resolve_btfids' messages: its failures, and what -v shows.
_IDS_FAILURES: Final = (
    "FAILED to parse set name: %s",
    "FAILED to parse symbol name: %s",
    "FAILED cannot update section header: %s",
    "FAILED cannot open %s: %s",
    "FAILED cannot create ELF descriptor: %s",
    "FAILED cannot get shdr str ndx",
    "FAILED cannot get ELF header: %s",
    "FAILED get section(%d) header",
    "FAILED get section(%d) name",
    "FAILED to get section(%d) data from %s",
    "FAILED unsupported prefix %s",
    "FAILED symbol %s crossed the number of allowed lists",
    "FAILED: malformed BTF, can't resolve type for ID %d",
    "FAILED: malformed BTF, can't resolve name for ID %d",
    "FAILED patching index %lu out of bounds %lu",
    "FAILED malformed data for set '%s'",
    "FAILED elf_update(WRITE): %s",
    "Unexpected kind %d passed to %s() for symbol %s",
    "Unexpected btf_id_kind %d for set '%s'",
    "Couldn't open %s for writing",
    "Failed to write data to %s",
    "%s has no BTF_ids data to dump",
    "btf__raw_data() failed",
    "Output path is too long: %s%s",
    "FAILED to open %s: %s",
    "FAILED to get section header",
    "FAILED: section %s not found in %s",
    "FAILED to get %s section data from %s",
    "FAILED to stat %s: %s",
    "FAILED: size mismatch - %s section in %s is %zu bytes, %s is %zu bytes",
    "FAILED to read %s",
    "FAILED to update ELF file %s",
    "ERROR: function name is too long: %s%s",
    "ERROR: resolve_btfids: %s",
    "resolve_btfids: function %s already exists in BTF",
)
_IDS_NOTES: Final = (
    "adding symbol %s",
    "- fixing wrong alignment sh_addralign %u, expected %u",
    "section(%d) %s, size %ld, link %d, flags %lx, type=%d",
    "WARN: multiple IDs found for '%s': %d, %d - using %d",
    "patching addr %5lu: ID %7d [%s]",
    "sorting addr %5lu: cnt %6d [%s]",
    "update %s for %s",
    "Cannot find .BTF_ids or symbols sections, %s",
    "bswap_32 .BTF_ids data from %s to %s endianness",
    "Dumped %lu bytes of data to %s",
    "found kfunc %s in %s",
    "resolve_btfids: updated BTF for kfunc with implicit args %s",
    "added arena-tagged proto for kfunc %s: %d",
    "Copying data from %s to %s section of %s (%zu bytes)",
)

MESSAGES: Final = (
    *_KBUILD,
    *_PAHOLE,
    *_IDS,
    *(Message(f"ids:{words}", words, Sort.BUILD, RESOLVE_BTFIDS) for words in _IDS_FAILURES),
    *(Message(f"ids:{words}", words, Sort.NOTE, RESOLVE_BTFIDS) for words in _IDS_NOTES),
)
