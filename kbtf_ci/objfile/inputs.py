# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""What a module's BTF is made from, as digests: whether it had to be written anew is told by these alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from kbtf_ci.model.regeneration import ModuleState, TreeState
from kbtf_ci.objfile.compression import load
from kbtf_ci.objfile.elf import MODULE_LIMIT, ElfImage
from kbtf_ci.objfile.files import read_kernel_file

# What pahole reads of a module. .BTF_ids is not among them: resolve_btfids writes ids of BTF into it behind
# pahole's back, so it is an output as well.
_READ = (
    ".debug_info", ".debug_types", ".debug_abbrev", ".debug_str", ".debug_line_str", ".debug_str_offsets",
    ".debug_addr", ".debug_loclists", ".debug_loc", ".debug_rnglists", ".debug_ranges", ".symtab", ".strtab",
)  # fmt: skip

_Stamp = tuple[int, int, int, int]


class Scanner:
    """Reads build directories; a file that has not changed since it was read is not read again."""

    def __init__(self) -> None:
        self._modules: dict[Path, tuple[_Stamp, ModuleState]] = {}
        self._base: tuple[_Stamp, str] | None = None

    def scan(self, build_dir: Path, files: Iterable[str]) -> TreeState:
        """Return the state of a build directory; ``files`` are its modules' paths, missing ones left out.

        Raises UsageError for a vmlinux or module that cannot be read.
        """
        there = [file for file in files if (build_dir / file).is_file()]
        return TreeState(
            self._vmlinux(build_dir / "vmlinux"), {file: self._module(build_dir / file) for file in there}
        )

    def _vmlinux(self, path: Path) -> str:
        stamp = _stamp(path)
        if self._base is None or self._base[0] != stamp:
            self._base = (stamp, hashlib.sha256(read_kernel_file(path).btf).hexdigest())
        return self._base[1]

    def _module(self, path: Path) -> ModuleState:
        stamp = _stamp(path)
        known = self._modules.get(path)
        if known is None or known[0] != stamp:
            known = self._modules[path] = (stamp, module_state(path))
        return known[1]


def module_state(path: Path) -> ModuleState:
    """Return the digests of one ``.ko``. Raises UsageError when it cannot be read."""
    image = ElfImage(load(path, MODULE_LIMIT), str(path))
    digest = hashlib.sha256()
    for name in _READ:
        for section in (name, f".rela{name}", f".rel{name}"):
            content = image.section(section)
            if content is not None:
                digest.update(f"{section} {len(content)}\0".encode() + content)
    return ModuleState(digest.hexdigest(), _digest(image.section(".BTF")), _digest(image.section(".BTF_ids")))


def _digest(content: bytes | None) -> str:
    return hashlib.sha256(content).hexdigest() if content else ""


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
