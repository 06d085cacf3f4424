# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What the module loader asks before it looks at BTF, as far as files can tell (kernel/module/main.c)."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from kbtf_ci.btf.format.reader import Btf
from kbtf_ci.btf.format.wire import Kind
from kbtf_ci.model.architecture import Architecture
from kbtf_ci.objfile.files import ModuleFile

FOREIGN: Final = "gate.architecture"  # the rule of a module that is for another architecture


@dataclass(frozen=True)
class StructModule:
    """``struct module`` of a kernel: its size and where ``init`` and ``exit`` lie in it, in bytes.

    An offset is None where the kernel has no such member (``exit`` wants CONFIG_MODULE_UNLOAD).
    """

    size: int
    init: int | None
    exit: int | None

    @classmethod
    def of(cls, vmlinux: Btf) -> StructModule | None:
        """Return what vmlinux's BTF says of it, None when it says nothing."""
        for type_id in vmlinux.find("module", Kind.STRUCT):
            index = type_id - vmlinux.start_id
            offsets = _members(vmlinux, index)
            if "init" in offsets:
                return cls(int(vmlinux.records.value[index]), offsets["init"], offsets.get("exit"))
        return None


@dataclass(frozen=True)
class LoaderCheck:
    """A check of the module loader that a module does not pass.

    ``errno`` is what init_module(2) returns, 0 where the kernel does not notice and runs into trouble later.
    """

    rule: str
    errno: int
    text: str


def check_loader(
    module: ModuleFile, struct: StructModule | None, release: str, kernel: Architecture | None = None
) -> LoaderCheck | None:
    """Return the first check in the kernel's order that ``module`` does not pass; ``release`` may be "".

    ``kernel`` is the kernel's architecture, None where that is not known. None for raw BTF too: it has
    nothing that could be asked.
    """
    if module.raw:
        return None
    if kernel is not None and module.architecture != kernel:
        return LoaderCheck(FOREIGN, errno.ENOEXEC, _foreign(module, kernel))
    if not module.has_symbols:
        return LoaderCheck("gate.symbols", errno.ENOEXEC, "it has no symbol table: stripped with plain strip")
    if module.this_module_bytes is None:
        return LoaderCheck("gate.this_module", errno.ENOEXEC, "it has no .gnu.linkonce.this_module section")
    if struct is not None and module.this_module_bytes != struct.size:
        return LoaderCheck(
            "gate.struct_size",
            errno.ENOEXEC,
            f"its struct module has {module.this_module_bytes} bytes, this kernel's {struct.size}",
        )
    return _vermagic(module, release) or _offsets(module, struct)


def _foreign(module: ModuleFile, kernel: Architecture) -> str:
    """elf_validity_check(): elf_check_arch(), and a header that the other byte order makes senseless."""
    own = module.architecture
    told = own.name if own else "no known architecture"
    return f"it is a module for {told}, and this kernel is one for {kernel.name}"


def _vermagic(module: ModuleFile, release: str) -> LoaderCheck | None:
    """same_magic(): with symbol versions the first word, the release, is passed over."""
    words = module.vermagic.split()
    if not words or not release or "modversions" in words or words[0] == release:
        return None
    return LoaderCheck(
        "gate.vermagic", errno.ENOEXEC, f"it was built for {words[0]}, this kernel is {release}"
    )


def _offsets(module: ModuleFile, struct: StructModule | None) -> LoaderCheck | None:
    if struct is None:
        return None
    for name, built, wanted in (
        ("init", module.init_offset, struct.init),
        ("exit", module.exit_offset, struct.exit),
    ):
        if built is not None and wanted is not None and built != wanted:
            text = f"its struct module has '{name}' at byte {built}, this kernel's at {wanted}"
            return LoaderCheck(f"gate.{name}_offset", 0, text)
    return None


def _members(btf: Btf, index: int) -> dict[str, int]:
    records = btf.records
    at, count = int(records.at[index]) + 3, int(records.vlen[index])
    rows = records.words[at : at + 3 * count].reshape(-1, 3).tolist()
    mask = 0xFF_FFFF if records.kflag[index] else 0xFFFF_FFFF
    return {btf.text(name): (offset & mask) // 8 for name, _, offset in rows}
