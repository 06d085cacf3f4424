# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the module loader says (kernel/module): before BTF is looked at, and beside it."""

from __future__ import annotations

from typing import Final

from kbtf_ci.symptoms.messages import Message, Sort

LOADER: Final = "kernel/module"

_NO_MODULE: Final = "the file is no module of this kernel's machine, or it is damaged"
_SYMBOLS: Final = "the module wants a symbol that this kernel or the modules loaded do not have"
_VERSIONS: Final = "the module was built against other headers or another configuration of this kernel"
_SIGNATURE: Final = "the kernel takes only modules whose signature it can check"

# Words, what the module is called in them, and what it means where the loader says no.
_REFUSALS: Final[tuple[tuple[str, str, str, tuple[str, ...]], ...]] = (
    (
        "loader.struct_size",
        "module %s: .gnu.linkonce.this_module section size must match the kernel's built struct "
        "module size at run time",
        "",
        ("gate.struct_size",),
    ),
    (
        "loader.this_module",
        "module %s: Exactly one .gnu.linkonce.this_module section must exist.",
        _NO_MODULE,
        ("gate.this_module",),
    ),
    (
        "loader.this_module_one",
        "module %s: Only one .gnu.linkonce.this_module section must exist.",
        _NO_MODULE,
        ("gate.this_module",),
    ),
    (
        "loader.this_module_size",
        "module %s: .gnu.linkonce.this_module section must have a size set",
        _NO_MODULE,
        ("gate.this_module",),
    ),
    (
        "loader.this_module_memory",
        "module %s: .gnu.linkonce.this_module must occupy memory during process execution",
        _NO_MODULE,
        ("gate.this_module",),
    ),
    (
        "loader.stripped",
        "%s: module has no symbols (stripped?)",
        "the symbol table was stripped: strip modules with --strip-debug and no more",
        ("gate.symbols",),
    ),
    (
        "loader.vermagic",
        "%s: version magic '%s' should be '%s'",
        "the module was built for another kernel",
        ("gate.vermagic",),
    ),
    ("loader.module_layout", "%s: disagrees about version of symbol module_layout", _VERSIONS, ()),
    ("loader.symbol_version", "%s: disagrees about version of symbol %s", _VERSIONS, ()),
    ("loader.no_symbol_version", "%s: no symbol version for %s", _VERSIONS, ()),
    ("loader.no_extended_version", "%s: no extended symbol version for %s", _VERSIONS, ()),
    ("loader.unknown_symbol", "%s: Unknown symbol %s (err %d)", _SYMBOLS, ()),
    ("loader.unknown_symbol_old", "%s: Unknown symbol %s", _SYMBOLS, ()),
    (
        "loader.namespace",
        "%s: module uses symbol (%s) from namespace %s, but does not import it.",
        _SYMBOLS,
        (),
    ),
    ("loader.namespace_import", "%s: module tries to import module namespace: %s", _SYMBOLS, ()),
    (
        "loader.duplicate",
        "%s: exports duplicate symbol %s (owned by %s)",
        "another module, or the kernel, exports the same symbol",
        (),
    ),
    (
        "loader.gpl",
        "%s: module using GPL-only symbols uses symbols %s from proprietary module %s.",
        "a matter of licences",
        (),
    ),
    ("loader.rejected", "Loading of %s is rejected", _SIGNATURE, ()),
    ("loader.blacklisted", "Module %s is blacklisted", "the kernel's command line forbids the module", ()),
    ("loader.hash", "Module hash %*phN is blacklisted", _SIGNATURE, ()),
    ("loader.common", "%s: please compile with -fno-common", _VERSIONS, ()),
    ("loader.symbol_index", "%s: Symbol %s has an invalid section index %u (max %u)", _NO_MODULE, ()),
    ("loader.percpu_memory", "%s: Could not allocate %lu bytes percpu data", "there is no memory for it", ()),
    (
        "loader.livepatch",
        "%s: module is marked as livepatch module, but livepatch support is disabled",
        "the kernel has no livepatching",
        (),
    ),
    ("loader.ctors", "%s: has both .ctors and .init_array.", _VERSIONS, ()),
    ("loader.write_exec", "%s: section %s (index %d) has invalid WRITE|EXEC flags", _NO_MODULE, ()),
    ("loader.loaded", "%s: module is already loaded", "it is loaded already", ()),
    ("loader.no_sysfs", "%s: module sysfs not initialized", "it came too early in the boot", ()),
    ("loader.waited", "%s: gave up waiting for init of module %s.", "another module's init did not end", ()),
    ("loader.nongpl", "failing symbol_get of non-GPLONLY symbol %s.", "a matter of licences", ()),
    ("loader.no_flags", "%s: no flags for exported symbols", _NO_MODULE, ()),
    ("loader.crc_presence", "extended version crc+name presence does not match", _NO_MODULE, ()),
    ("loader.crc_count", "more extended version crcs than names", _NO_MODULE, ()),
)

_DAMAGED: Final = (
    "Invalid ELF header len %lu",
    "Invalid ELF header magic: != %s",
    "Invalid ELF header type: %u != %u",
    "Invalid architecture in ELF header: %u",
    "Invalid module architecture in ELF header: %u",
    "Invalid ELF section header size",
    "Invalid ELF section header overflow",
    "ELF Spec violation: section 0 type(%d)!=SH_NULL or non-zero len or addr",
    "ELF Spec violation: section name table isn't null terminated",
    "Invalid ELF section in module (section %u type %u)",
    "Invalid ELF section name index: %d || e_shstrndx (%d) >= e_shnum (%d)",
    "Invalid ELF section name table type: %u",
    "empty section name table",
    "Invalid ELF section name in module (section %u type %u)",
    "Only one .modinfo section must exist.",
    "Invalid ELF sh_link!=SHN_UNDEF(%d) or (sh_link(%d) >= hdr->e_shnum(%d)",
    "Invalid ELF symbol string table type: %u",
    "empty symbol string table",
    "symbol string table missing leading NUL",
    "symbol string table isn't NUL terminated",
    "symbol name out of bounds in string table",
    "not a gzip compressed module",
    "failed to initialize decompressor: %d",
    "decompression failed with status %d",
    "not an xz compressed module",
    "not a zstd compressed module",
    "ZSTD-compressed data has an incomplete frame header",
    "ZSTD-compressed data has too large a window size",
    "Can't initialize ZSTD stream",
    "ZSTD-decompression failed with status %d",
)

_NOTES: Final = (
    "Failed to create 'compression' attribute",
    "New request_module_nowait() for %s -- cannot track duplicates for this request",
    "New request_module() for %s",
    "module-autoload: duplicate request for module %s",
    "request_module: modprobe %s cannot be processed, kmod busy with %d threads for more than %d seconds now",
    "Failed to find symbol %s",
    "%s: per-cpu alignment %li > %li",
    "%s does not use %s!",
    "Allocating new usage for %s.",
    "%s unusing %s",
    "%s already dying",
    "%s: module uses symbols %s from proprietary module %s, inheriting taint.",
    "%s: memory allocation(s) from the module still alive, cannot unload cleanly",
    "%s: adding tainted module to the unloaded tainted modules list failed.",
    "Common symbol: %s",
    "Absolute symbol: 0x%08lx %s",
    "Core section allocation order for %s:",
    "Init section allocation order for %s:",
    "%s: module license '%s' taints kernel.",
    "%s: loading module not compiled with retpoline compiler.",
    "%s: module is from the staging directory, the quality is unknown, you have been warned.",
    "%s: tainting kernel with TAINT_LIVEPATCH",
    "%s: loading test module taints kernel.",
    "%s: module license taints kernel.",
    "%s: Ignoring obsolete parameters",
    "Final section addresses for %s:",
    "%s: '%s'->init suspiciously returned %d, it should follow 0/-E convention",
    "%s: init suspiciously returned %d, it should follow 0/-E convention",
    "%s: loading module anyway...",
    "%s: module_enable_rodata_ro_after_init() returned %d, ro_after_init data might still be writable",
    "Could not add fail-tracking for module: %s",
    "%s: unknown parameter '%s' ignored",
    "%s: parameters '%s' after `--' ignored",
    "init_module: umod=%p, len=%lu, uargs=%p",
    "finit_module: fd=%d, uargs=%p, flags=%i",
    "Modules linked in:",
    "[last unloaded: %s%s]",
    "digest memory buffer allocate fail",
    "%ld digest: %*phN",
    "verify_pkcs7_signature() = %d",
    "Unloaded tainted modules:",
    "Found checksum %X vs module %lX",
    "%s: ignoring obsolete section __ksymtab_gpl",
    "%s: ignoring obsolete section __kcrctab_gpl",
    "%s: %s: kernel tainted.",
)

OUT_OF_TREE: Final = "loader.out_of_tree"
UNSIGNED: Final = "loader.unsigned"

MESSAGES: Final = (
    Message(OUT_OF_TREE, "%s: loading out-of-tree module taints kernel.", Sort.CONTEXT, LOADER, ("module",)),
    Message(
        UNSIGNED,
        "%s: module verification failed: signature and/or required key missing - tainting kernel",
        Sort.CONTEXT,
        LOADER,
        ("module",),
    ),
    *(
        Message(
            id_,
            words,
            Sort.LAYOUT if id_ == "loader.struct_size" else Sort.LOADER,
            LOADER,
            ("module",),
            checks,
            meaning,
        )
        for id_, words, meaning, checks in _REFUSALS
    ),
    *(Message(f"loader:{words}", words, Sort.LOADER, LOADER, meaning=_NO_MODULE) for words in _DAMAGED),
    *(Message(f"loader:{words}", words, Sort.NOTE, LOADER) for words in _NOTES),
)
